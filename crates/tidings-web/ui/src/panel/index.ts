export { TaskDetailPanel, type TaskDetailPanelProps } from "./TaskDetailPanel.js";
export { ConnectionDot } from "./ConnectionDot.js";
export { Progress, StatusBadge } from "./Progress.js";
