import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The longest time that a test waits for anything, in milliseconds. */
export const DEADLINE = 60_000;

/** Returns the path of the real `tidings`. */
export function binary(): string {
  const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../../../target", import.meta.url));
  const built = [`${target}/release/tidings`, `${target}/debug/tidings`].filter((path) => existsSync(path));
  // The newest binary is the one that was just built.
  const [newest] = built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  const found = process.env.TIDINGS_BINARY ?? newest;
  if (!found) throw new Error("there is no tidings binary: run `cargo build -p tidings-server`, or set TIDINGS_BINARY");
  return found;
}

/** Returns the environment for `tidings`, which refuses variables of its own prefix that it does not know. */
export function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TIDINGS_")));
}

/** A real server. */
export class Server {
  #child: ChildProcess;
  readonly url: string;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Starts the server, on a free port unless one is given. */
  static async start(options: { port?: number; command?: string; args?: string[] } = {}): Promise<Server> {
    const { port = 0, command = "serve", args = [] } = options;
    const child = spawn(binary(), [command, "--listen", `127.0.0.1:${port}`, ...args], { env: environment(), stdio: ["ignore", "pipe", "pipe"] });
    let log = "";
    child.stderr!.on("data", (text) => (log = (log + text).slice(-4_000)));
    const lines = createInterface({ input: child.stdout! });
    const first = await new Promise<string>((resolve, reject) => {
      lines.once("line", resolve);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${log}`)));
    });
    const listening = /:(\d+)$/.exec(first);
    if (!listening) throw new Error(`not where it listens: ${first}`);
    return new Server(child, Number(listening[1]));
  }

  /** Ends the server, in order or like a crash. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill(signal);
    await gone;
  }

  /** Publishes events to a task, in order. */
  async publish(taskId: string, ...events: [type: string, data?: object][]): Promise<void> {
    const lines = events.map(([event_type, data = {}]) => JSON.stringify({ event_type, data })).join("\n");
    const answers = await this.post(`/api/tasks/${taskId}/events`, lines, "application/x-ndjson");
    const refused = [answers].flat().find((answer) => !("offset" in (answer as object)));
    if (refused) throw new Error(`refused: ${JSON.stringify(refused)}`);
  }

  async post(path: string, body: string, type = "application/json"): Promise<unknown> {
    const response = await fetch(this.url + path, { method: "POST", body, headers: { "content-type": type } });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  async get<T = any>(path: string): Promise<T> {
    const response = await fetch(this.url + path);
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return (await response.json()) as T;
  }

  /** Returns the number of open WebSockets and streams. */
  async connected(): Promise<number> {
    return (await this.get("/api/stats")).connections.connected;
  }
}

/** Waits until a condition holds. */
export async function until<T>(what: string, check: () => Promise<T> | T): Promise<NonNullable<T>> {
  const deadline = Date.now() + DEADLINE;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${DEADLINE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
