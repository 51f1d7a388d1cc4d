export * from "../index.js";
export { TaskDetailPanel, type TaskDetailPanelProps } from "./TaskDetailPanel.js";
export { useTaskWebSocket, type UseTask, type UseTaskOptions } from "./useTaskWebSocket.js";
export { TidingsContext, useTidingsClient, type ClientChoice } from "./client.js";
export { ConnectionDot } from "./ConnectionDot.js";
export { Progress, StatusBadge } from "./Progress.js";
export type { CommandState, ToolCall } from "./activity.js";
export { isGap, type GapEntry, type TaskView, type TimelineEntry } from "./task-store.js";
