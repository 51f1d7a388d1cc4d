/** Data as people and programs really send them: long, wide, in other scripts, coloured, malicious. */

import type { Server } from "./server.js";

type Made = [type: string, data?: object];

/** A word without a place to break. */
export const LONG = "x".repeat(600);

const ARABIC = "مهمة طويلة جدا لاختبار الاتجاه من اليمين إلى اليسار";
const NAME = `${LONG.slice(0, 300)} 👩‍👩‍👧‍👦🏳️‍🌈 ${ARABIC}`;

const MARKDOWN = `# An answer

Some **bold** words, \`code\`, [a link](https://example.org), [a script](javascript:alert(1)), <img src=x onerror="window.hacked=1"> and <script>window.hacked=2</script>.

| a | b | c |
|---|---|---|
| ${"wide".repeat(60)} | 2 | 3 |

\`\`\`sh
echo ${"y".repeat(500)}
\`\`\`

- one ${LONG}
- [x] two
`;

/** An image of one pixel. */
const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** A schema whose texts are as hostile as the rest. */
const FORM = {
  type: "object",
  required: ["constructor"],
  properties: {
    constructor: { type: "integer", title: LONG, description: LONG },
    ["with space / and ~"]: { enum: [LONG, ARABIC], title: ARABIC },
    flag: { type: "boolean" },
    note: { type: "string", default: LONG },
    other: { anyOf: [{ type: "string" }, { type: "number" }] },
  },
};

/** Everything that a panel can show, each in its most hostile form. */
export const EVERYTHING: Made[] = [
  ["task_started", { name: NAME }],
  ["progress_update", { progress: 40, message: `${LONG} ${ARABIC}`, stage: LONG }],
  ["log", { message: `plain ${"z".repeat(5_000)}` }],
  ["log", { message: "\u001b[31mred\u001b[0m \u001b[1;32mgreen and bold\u001b[0m \u001b[38;5;208morange\u001b[0m \u001b[2K\u001b[1Gmoved\u0007" }],
  ["log", { message: "an error\nwith a second line\r\nand a third", level: "error" }],
  ["log", { message: ARABIC, level: "warn" }],
  ["agent_status_change", { agent_id: `agent-${"a".repeat(110)}`, status: "working", message: LONG }],
  ["tool_call_started", { tool_call_id: "c1", tool: "t".repeat(120), input: { command: LONG, nested: { deep: [1, 2, { x: LONG }] } } }],
  ["tool_call_completed", { tool_call_id: "c1", output: LONG }],
  ["tool_call_started", { tool_call_id: "c2", tool: "search" }],
  ["tool_call_failed", { tool_call_id: "c2", error: { code: "E", message: LONG } }],
  ["step_started", { step_id: "s", name: LONG }],
  ["output_delta", { output_id: "answer", text: MARKDOWN }],
  ["artifact", { artifact_id: "a1", name: LONG, url: "https://example.org/a" }],
  ["artifact", { artifact_id: "a2", name: "elsewhere", url: "//evil.example/report" }],
  ["artifact", { artifact_id: "a3", name: "script", url: "javascript:alert(1)" }],
  ["artifact", { artifact_id: "a4", name: "own", url: "/files/report.txt", media_type: "text/plain" }],
  ["artifact", { artifact_id: "a5", name: "data", data: { text: LONG } }],
  ["artifact", { artifact_id: "a6", name: "picture", media_type: "image/png", data: PIXEL }],
  ["artifact", { artifact_id: "a7", name: "change", media_type: "text/x-diff", data: `--- a/${LONG}\n+++ b/${LONG}\n@@ -1 +1 @@\n-${LONG}\n+${ARABIC}\n` }],
  ["input_required", { input_id: "q", prompt: LONG }],
  ["input_required", { input_id: "r", prompt: ARABIC, choices: [LONG, "<b>bold</b>", { deep: [LONG] }, true, 7] }],
  ["input_required", { input_id: "s", prompt: "A form", expires_in_ms: 86_400_000, schema: FORM }],
  ["input_required", { input_id: "t", prompt: "Anything", schema: { type: "array", items: { type: "string" } } }],
  ["input_required", { input_id: "u", prompt: `Answered ${LONG}` }],
  ["input_provided", { input_id: "u", value: { text: LONG }, by: LONG.slice(0, 100) }],
  ["custom.event", { something: LONG }],
];

/** Publishes tasks in all states, with names and texts that break layouts. */
export async function publishHostile(server: Server): Promise<void> {
  await server.publish("hostile", ...EVERYTHING);
  await server.publish("failed", ["task_started", { name: NAME }], ["task_failed", { error: { code: "E".repeat(60), message: LONG } }]);
  await server.publish("done", ["task_started", { name: "نعم" }], ["task_completed", { result: { text: LONG } }]);
  await server.publish("cancelled", ["task_started"], ["progress_update", { progress: 30 }], ["task_cancelled", { reason: LONG }]);
  await server.publish("unknown", ["task_started", { name: "🚀".repeat(80) }]);
  await server.publish("pending", ["log", { message: "not started" }]);
  await server.publish("i".repeat(128), ["task_started"]);
  await server.publish("below", ["task_started", { name: NAME, parent_task_id: "hostile" }], ["progress_update", { progress: 12 }]);
}
