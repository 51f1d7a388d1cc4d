export { TidingsClient, type PatternWatch, type TaskWatch } from "./websocket.js";
export { TidingsError } from "./error.js";
export { reduce } from "./reduce.js";
export type { Position } from "./cursor.js";
export type { ClientOptions, TaskGap, TaskHandlers, Token, WatchOptions } from "./options.js";
export type { Status } from "./status.js";
export type * from "./generated/protocol.js";
