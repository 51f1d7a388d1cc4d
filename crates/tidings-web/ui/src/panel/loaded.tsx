import { type ComponentType, type ReactNode, useSyncExternalStore } from "react";
import { backoff } from "../backoff.js";

/**
 * Returns a component whose code is loaded when it is drawn for the first time. Until then its
 * `fallback` is shown.
 *
 * Loading fails while the server is away. The fallback then stays, and the code is requested again
 * after a pause, as long as the component is drawn. `React.lazy` would instead end the whole page
 * with the error of the first attempt.
 */
export function loaded<P extends object>(load: () => Promise<{ default: ComponentType<P> }>): ComponentType<P & { fallback: ReactNode }> {
  const listeners = new Set<() => void>();
  let Component: ComponentType<P> | null = null;
  let active = false;
  const attempt = (failures: number): void => {
    active = listeners.size > 0;
    if (!active) return;
    load().then(
      (module) => {
        Component = module.default;
        for (const listener of [...listeners]) listener();
      },
      () => setTimeout(attempt, backoff(failures, Math.random), failures + 1),
    );
  };
  const subscribe = (listener: () => void) => {
    listeners.add(listener);
    if (!Component && !active) attempt(0);
    return () => void listeners.delete(listener);
  };
  const current = () => Component;
  return function Loaded({ fallback, ...props }) {
    const Part = useSyncExternalStore(subscribe, current, current);
    return Part ? <Part {...(props as unknown as P)} /> : fallback;
  };
}
