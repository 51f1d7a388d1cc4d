import { createContext, useContext } from "react";
import type { TaskSnapshot } from "../generated/protocol.js";
import type { GapEntry } from "../store/task-store.js";

/** All texts of the panel, without data. */
export const ENGLISH = {
  status: { pending: "Pending", running: "Running", completed: "Completed", failed: "Failed", cancelled: "Cancelled", stalled: "Stalled" } as Record<TaskSnapshot["status"] | "stalled", string>,
  task: (name: string) => `Task ${name}`,
  run: (run: number) => `run ${run}`,
  partOf: (parent: string) => `part of ${parent}`,
  unknownTask: "No event of this task has come yet. If its id is right, the task appears here with its first event.",
  asOf: (time: string) => `as of ${time}`,
  progress: "Progress",
  progressOf: (name: string) => `Progress of ${name}`,
  started: "Started",
  elapsed: "Elapsed",
  remaining: "Remaining",
  about: (duration: string) => `about ${duration}`,
  stage: "Stage",
  result: "Result",
  truncated: "This task's state is too large to show in full. The oldest part is left out.",
  ask: "Ask the task to",
  commands: { pause: "Pause", resume: "Resume", cancel: "Cancel", retry: "Run again" } as Record<string, string>,
  sure: (command: string) => `Really ${command.toLowerCase()}?`,
  keep: "Keep it running",
  commandStates: {
    asking: "asking…",
    asked: "asked, no answer yet",
    accepted: "accepted",
    completed: "done",
    rejected: (reason: string) => `rejected: ${reason}`,
    failed: (reason: string) => `not asked: ${reason}`,
  },
  waiting: "Waiting for an answer",
  steps: "Steps",
  agents: "Agents",
  toolCalls: "Tool calls",
  input: "Input",
  output: "Output",
  error: "Error",
  running: "running",
  failed: "failed",
  artifacts: "Artifacts",
  save: "Save",
  writing: "writing",
  follow: "Follow",
  copy: "Copy",
  copied: "Copied",
  log: "Log",
  newest: "Newest events",
  search: "Search",
  searchLog: "Search the log",
  types: "Kinds of events",
  allTypes: "All",
  wrap: "Wrap",
  download: "Download",
  toEnd: "To the end",
  newEvents: (count: string) => `${count} new`,
  firstError: "First error",
  noError: "There is no error in what is kept of the log.",
  nothingYet: "Nothing has happened yet.",
  noMatch: "Nothing matches.",
  matches: (count: string, whole: boolean) => `${count} ${count === "1" ? "match" : "matches"}${whole ? "" : " so far"}`,
  more: "Search on",
  searching: "Searching…",
  loading: "Loading…",
  notLoaded: (reason: string) => `This part of the log could not be loaded: ${reason}`,
  again: "Try again",
  notKept: (count: string) => `The first ${count} events are no longer kept.`,
  gap: (from: number, to: number, why: string) => (to < from ? why : from === to ? `Event ${from} is not shown: ${why}` : `Events ${from}–${to} are not shown: ${why}`),
  gapReasons: {
    expired: "no longer kept when this page came",
    overrun: "this page was too slow",
    conflated: "superseded while this page lagged",
    epoch_changed: "the log started over",
    removed: "the task was removed",
    ahead: "this page was ahead of the log",
    missed: "missed while there was no connection",
  } as Record<GapEntry["reason"], string>,
  runStarts: (run: string) => run,
};

/** The texts of the panel, which can be replaced by another language. */
export type Labels = typeof ENGLISH;

export const LabelsContext = createContext<Labels>(ENGLISH);

/** Returns the texts to show. Texts in `own` replace the English ones. */
export function useLabels(own?: Partial<Labels>): Labels {
  const around = useContext(LabelsContext);
  return own ? { ...around, ...own } : around;
}
