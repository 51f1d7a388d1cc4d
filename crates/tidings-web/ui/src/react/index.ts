export { TidingsContext, TidingsProvider, useTidingsClient, type ClientChoice, type TidingsProviderProps } from "./client.js";
export { useTask, useTask as useTaskWebSocket, type UseTask, type UseTaskOptions } from "./useTask.js";
export { useTasks, type UseTasksOptions } from "./useTasks.js";
export { useTaskEvent, type UseTaskEventOptions } from "./useTaskEvent.js";
export { useAnswer, type AnswerProgress, type UseAnswer } from "./useAnswer.js";
export { useCommand, type CommandProgress, type UseCommand } from "./useCommand.js";
