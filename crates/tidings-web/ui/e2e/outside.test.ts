/** The package as npm installs it, in other projects: older React, plain Node.js, server components. */

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Server } from "./support/server.js";

const ui = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "tidings-outside-"));
let packed: string;

function run(command: string, args: string[], cwd: string): string {
  try {
    return execFileSync(command, args, { cwd, stdio: "pipe", encoding: "utf8", env: { ...process.env, NODE_ENV: undefined, NEXT_TELEMETRY_DISABLED: "1" } as never });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`);
  }
}

beforeAll(() => {
  run("npm", ["pack", "--silent", "--pack-destination", folder], ui);
  packed = join(folder, readdirSync(folder).find((file) => file.endsWith(".tgz"))!);
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** Creates a project with these files and installs it. */
function project(name: string, dependencies: Record<string, string>, files: Record<string, string>): string {
  const cwd = join(folder, name);
  cpSync(join(ui, "../../../examples/react-panel/tsconfig.json"), join(cwd, "tsconfig.json"), { recursive: true });
  writeFileSync(join(cwd, "package.json"), JSON.stringify({ name, private: true, type: "module", dependencies: { "@tidings/client": packed, ...dependencies } }));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(cwd, file), text);
  run("npm", ["install", "--no-progress", "--prefer-offline", "--no-audit", "--no-fund"], cwd);
  return cwd;
}

const STRICT = { target: "ES2023", strict: true, skipLibCheck: false, noEmit: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };

const COMPONENT = `import { useTask, useTasks, useTaskEvent, useCommand, TidingsProvider } from "@tidings/client/react";
import { TaskDetailPanel, Log, Output } from "@tidings/client/panel";
import type { TidingsEvent } from "@tidings/client";

declare module "@tidings/client" {
  interface CustomEvents {
    "cache.hit": { key: string };
  }
}

function Inner({ id }: { id: string | null }) {
  const { task, publish } = useTask(id, { onEvent: (event: TidingsEvent) => void (event.event_type === "cache.hit" && event.data.key.length) });
  const { tasks } = useTasks("build-*");
  const artifact = useTaskEvent(id, "artifact");
  const percent = useTaskEvent(id, (event) => (event.event_type === "progress_update" ? event.data.progress : null));
  const { send, last } = useCommand(id);
  return (
    <button onClick={() => (void send("cancel"), void publish({ event_type: "log", data: { message: "clicked" } }))}>
      {task?.name} {tasks.length} {artifact?.data.name} {percent} {last?.state}
    </button>
  );
}

export default function App() {
  return (
    <TidingsProvider url="https://tidings.example/prefix" token={null}>
      <Inner id="a" />
      <TaskDetailPanel taskId="a" theme="dark" labels={{ log: "Protokoll" }} renderEvent={(event) => event.event_type} />
      <Log taskId="a" />
      <Output output={{ output_id: "o", text: "# Hello", complete: true } as never} />
    </TidingsProvider>
  );
}
`;

test("React 18: it compiles under strict with all libraries checked, renders on a server, and is bundled", () => {
  const cwd = project(
    "react-18",
    { react: "18.3.1", "react-dom": "18.3.1", "@types/react": "18.3.32", "@types/react-dom": "18.3.7", typescript: "7.0.2", vite: "8.3.8" },
    {
      "App.tsx": COMPONENT,
      "main.tsx": `import { createRoot } from "react-dom/client";\nimport App from "./App.js";\nimport "@tidings/client/panel.css";\ncreateRoot(document.getElementById("root")!).render(<App />);\n`,
      "server.tsx": `import { renderToString } from "react-dom/server";\nimport App from "./App.js";\nconsole.log(renderToString(<App />));\n`,
      "index.html": `<!doctype html><div id="root"></div><script type="module" src="/main.tsx"></script>`,
      "tsconfig.json": JSON.stringify({ compilerOptions: { ...STRICT, module: "ESNext", moduleResolution: "bundler", jsx: "react-jsx", lib: ["ES2023", "DOM", "DOM.Iterable"], types: ["vite/client"] }, include: ["*.tsx"] }),
    },
  );
  run("npx", ["tsc", "-p", "."], cwd);
  run("npx", ["vite", "build", "--logLevel", "error"], cwd);
  run("npx", ["vite", "build", "--logLevel", "error", "--ssr", "server.tsx", "--outDir", "server"], cwd);
  const html = run("node", ["server/server.js"], cwd);
  expect(html).toContain("Protokoll");
  expect(html).toContain('data-theme="dark"');
}, 300_000);

test("plain Node.js 20 and 22: types without a page's, and events with and without a WebSocket", async () => {
  // A Node.js as npm installs it, beside the one that runs this test.
  const newer = `node-${process.platform}-${process.arch}`;
  const server = await Server.start();
  await server.publish("t", ["task_started", { name: "From Node" }], ["log", { message: "hello" }]);
  const cwd = project(
    "node",
    { typescript: "7.0.2", "@types/node": "20.19.43", [newer]: "22.23.5" },
    {
      "main.mts": `import { TidingsClient } from "@tidings/client";
const client = new TidingsClient({ url: ${JSON.stringify(server.url)} });
const stop = new AbortController();
for await (const event of client.events("t", { since: "0", signal: stop.signal })) {
  console.log(event.offset, event.event_type === "log" ? event.data.message : event.event_type, client.status.transport);
  if (event.offset === 2) stop.abort();
}
client.close();
`,
      "tsconfig.json": JSON.stringify({ compilerOptions: { ...STRICT, noEmit: false, module: "NodeNext", moduleResolution: "NodeNext", lib: ["ES2023"], types: ["node"] }, include: ["main.mts"] }),
    },
  );
  run("npx", ["tsc", "-p", "."], cwd);
  for (const node of ["node", `node_modules/${newer}/bin/node`]) {
    const transport = run(node, ["-p", '"WebSocket" in globalThis'], cwd) === "true\n" ? "websocket" : "sse";
    expect(run(node, ["main.mjs"], cwd), node).toBe(`1 task_started ${transport}\n2 hello ${transport}\n`);
  }
  expect(run(`node_modules/${newer}/bin/node`, ["--version"], cwd)).toMatch(/^v22\./);
  await server.stop();
}, 300_000);

test("a server component: the client runs there, hooks and panel are references to the browser's", () => {
  const cwd = project(
    "server-component",
    { react: "19.3.1", "react-dom": "19.3.1" },
    {
      "client.mjs": `import { TidingsClient, reduce } from "@tidings/client";\nconsole.log(typeof TidingsClient, typeof reduce);\n`,
      // Does what a bundler for server components does with a client module: it reads its names
      // without running it.
      "references.mjs": `import { readFileSync } from "node:fs";
for (const name of ["react", "panel"]) {
  const text = readFileSync(new URL(import.meta.resolve("@tidings/client/" + name)), "utf8");
  console.log(name, /^"use client";/.test(text), /export \\{[^}]*\\}/.test(text));
}
`,
    },
  );
  expect(run("node", ["--conditions=react-server", "client.mjs"], cwd)).toBe("function function\n");
  expect(run("node", ["--conditions=react-server", "references.mjs"], cwd)).toBe("react true true\npanel true true\n");
}, 300_000);

test("Next.js: a server component renders the panel, which the browser brings to life", () => {
  const cwd = join(folder, "next");
  mkdirSync(join(cwd, "app"), { recursive: true });
  writeFileSync(join(cwd, "app", "layout.tsx"), `export default function Layout({ children }: { children: React.ReactNode }) {\n  return <html lang="en"><body>{children}</body></html>;\n}\n`);
  writeFileSync(
    join(cwd, "app", "page.tsx"),
    `import { reduce } from "@tidings/client";
import { TaskDetailPanel } from "@tidings/client/panel";
import { TidingsProvider } from "@tidings/client/react";
import "@tidings/client/panel.css";

export default async function Page() {
  return (
    <TidingsProvider url="https://tidings.example">
      <h1>{typeof reduce}</h1>
      <TaskDetailPanel taskId="build-7" />
    </TidingsProvider>
  );
}
`,
  );
  project("next", { next: "16.4.6", react: "19.3.1", "react-dom": "19.3.1", "@types/react": "19.3.0", "@types/node": "20.19.43", typescript: "5.9.3" }, {});
  rmSync(join(cwd, "tsconfig.json"));
  run("npx", ["next", "build"], cwd);
  const html = readFileSync(join(cwd, ".next/server/app/index.html"), "utf8");
  expect(html).toContain("<h1>function</h1>");
  expect(html).toContain("build-7");
}, 600_000);
