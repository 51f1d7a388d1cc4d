import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { fileURLToPath } from "node:url";
import { build, type Rolldown } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Builds a page of the tests, with React in development mode, in which StrictMode mounts twice. */
export async function bundle(entry: string, name: string, alias: Record<string, string> = {}): Promise<Map<string, string>> {
  const made = await build({
    configFile: false,
    logLevel: "error",
    mode: "development",
    define: { "process.env.NODE_ENV": '"development"' },
    resolve: { alias },
    build: {
      write: false,
      minify: false,
      target: "es2023",
      lib: { entry: here(entry), formats: ["es"], fileName: () => `${name}.js`, cssFileName: name },
    },
  });
  const { output } = [made].flat()[0] as Rolldown.RolldownOutput;
  return new Map(output.map((file) => [file.fileName, file.type === "chunk" ? file.code : String(file.source)]));
}

/** Serves the pages of the tests for any browser: `/harness`, and `/conformance` with its vectors. */
export class Site {
  readonly #server: Server;
  readonly url: string;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  }

  static async start(): Promise<Site> {
    const vitest = here("in-browser.ts");
    const files = new Map([
      ...(await bundle("harness.tsx", "harness")),
      ...(await bundle("../../test/conformance.test.ts", "conformance", { vitest, "node:fs": vitest })),
    ]);
    const server = createServer(({ url = "" }, response) => {
      const name = url.slice(1);
      const vectors = /^vectors\/(\w+\.json)$/.exec(name)?.[1];
      const type = vectors ? "application/json" : name.endsWith(".js") ? "text/javascript" : name.endsWith(".css") ? "text/css" : "text/html";
      const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Tests</title><body><script type="module" src="/${name}.js"></script></body></html>`;
      response.setHeader("content-type", type);
      response.end(vectors ? readFileSync(here(`../../../../../docs/conformance/${vectors}`)) : (files.get(name) ?? page));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Site(server);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
