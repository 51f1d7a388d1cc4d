import { type MouseEvent, type ReactNode, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("popstate", listener);
  };
}

/** The path of the page. */
export function usePath(): string {
  return useSyncExternalStore(subscribe, () => location.pathname);
}

/** The task of a path, if it is one's. */
export function taskOf(path: string): string | null {
  const id = /^\/tasks\/([^/]+)$/.exec(path)?.[1];
  try {
    return id ? decodeURIComponent(id) : null;
  } catch {
    return null;
  }
}

/** A link within the page, which keeps its connection. */
export function Link({ to, className, children }: { to: string; className?: string; children: ReactNode }) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.pushState(null, "", to);
    for (const listener of [...listeners]) listener();
  };
  return (
    <a href={to} className={className} onClick={follow}>
      {children}
    </a>
  );
}

const narrow = () => matchMedia("(max-width: 760px)");

/** Whether the page is as narrow as a phone. */
export function useNarrow(): boolean {
  return useSyncExternalStore(
    (listener) => {
      const query = narrow();
      query.addEventListener("change", listener);
      return () => query.removeEventListener("change", listener);
    },
    () => narrow().matches,
  );
}
