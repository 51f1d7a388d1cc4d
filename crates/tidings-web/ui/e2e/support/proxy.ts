import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy in front of the server: a network that can be cut, or become silent. */
export class Proxy {
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #mode: "open" | "silent" | "refusing" = "open";
  readonly url: string;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async to(port: number): Promise<Proxy> {
    let proxy: Proxy;
    const server = createServer((client) => proxy.#accept(client, port));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    proxy = new Proxy(server, (server.address() as { port: number }).port);
    return proxy;
  }

  #accept(client: Socket, port: number): void {
    client.on("error", () => {});
    if (this.#mode === "refusing") return void client.resetAndDestroy();
    const upstream = connect(port, "127.0.0.1");
    const pair: [Socket, Socket] = [client, upstream];
    this.#pairs.add(pair);
    const pass = (from: Socket, to: Socket) => {
      from.on("data", (bytes) => this.#mode === "open" && to.write(bytes));
      from.on("error", () => {});
      from.on("close", () => {
        this.#pairs.delete(pair);
        if (this.#mode !== "silent") to.destroy();
      });
    };
    pass(client, upstream);
    pass(upstream, client);
  }

  /** Breaks all connections, and refuses new ones until `open` is called. */
  cut(): void {
    this.#mode = "refusing";
    for (const [client, upstream] of this.#pairs) {
      client.resetAndDestroy();
      upstream.destroy();
    }
  }

  /** Passes nothing on any more, without telling either side: half-open connections. */
  silence(): void {
    this.#mode = "silent";
  }

  /** Passes new connections on. Earlier ones stay dead. */
  open(): void {
    if (this.#mode === "silent") this.cut();
    this.#mode = "open";
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
