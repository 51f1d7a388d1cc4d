/** `/tidings.js`: the client alone, for pages without a build step. */
export { TidingsClient } from "./websocket.js";
export { TidingsError } from "./error.js";
export { reduce } from "./reduce.js";
export { customEvent, isEvent } from "./types.js";
