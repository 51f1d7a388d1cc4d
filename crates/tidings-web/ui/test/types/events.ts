/**
 * What must compile, and what must not. `npm run check` compiles this file. A line under
 * `@ts-expect-error` that compiles is an error.
 */

import { customEvent, isEvent, type InputProvided, type NewTidingsEvent, type TidingsClient, type TidingsEvent } from "../../src/index.js";

declare module "../../src/types.js" {
  interface CustomEvents {
    "cache.hit": { key: string };
  }
}

export function narrows(event: TidingsEvent): string {
  if (event.event_type === "log") return event.data.message;
  // @ts-expect-error: the data of any other event have no message for sure.
  const unsure: string = event.data.message;
  switch (event.event_type) {
    case "progress_update": {
      const progress: number | null | undefined = event.data.progress;
      // @ts-expect-error: an update of progress has no step.
      return `${progress} ${event.data.step_id}`;
    }
    case "step_failed":
      return event.data.step_id;
    case "cache.hit":
      return event.data.key;
  }
  return isEvent(event, "task_failed") ? JSON.stringify(event.data.error) : unsure;
}

export async function publishes(client: TidingsClient): Promise<void> {
  await client.publish("t", { event_type: "progress_update", data: { progress: 40 } });
  await client.publish("t", { event_type: "task_started" });
  await client.publish("t", { event_type: "cache.hit", data: { key: "a" } });
  await client.publish("t", customEvent("anything.else", { x: 1 }));
  // @ts-expect-error: the name is misspelt.
  await client.publish("t", { event_type: "progess_update", data: { progress: 40 } });
  // @ts-expect-error: progress is a number.
  await client.publish("t", { event_type: "progress_update", data: { progress: "forty" } });
  // @ts-expect-error: a log needs a message.
  await client.publish("t", { event_type: "log" });
  // @ts-expect-error: a declared type has its data.
  await client.publish("t", { event_type: "cache.hit", data: { kee: "a" } });
}

export const answers: InputProvided[] = [true, 7, "yes", null, { a: 1 }].map((value) => ({ input_id: "q", by: "me", value }));
export const made: NewTidingsEvent = customEvent("note");
