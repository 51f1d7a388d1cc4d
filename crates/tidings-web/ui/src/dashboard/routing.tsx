import { type MouseEvent, type ReactNode, useSyncExternalStore } from "react";
import { MOUNT } from "./mount.js";

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  addEventListener("popstate", listener);
  addEventListener("hashchange", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("popstate", listener);
    removeEventListener("hashchange", listener);
  };
}

function tell(): void {
  for (const listener of [...listeners]) listener();
}

/** What the browser stores with an entry of its history, to restore it later. */
interface Kept {
  top?: number;
  focus?: string;
  /** The parents in the list whose children are hidden. */
  closed?: readonly string[];
}

/** Returns what is stored with the current history entry. */
export function kept(): Kept {
  return (history.state as Kept | null) ?? {};
}

/** Stores something with the current history entry. */
export function keepHere(change: Kept): void {
  history.replaceState({ ...kept(), ...change }, "");
}

/** Goes to another page, to its beginning. `to` is a path below the mount. */
export function go(to: string): void {
  history.pushState(null, "", MOUNT + to);
  scrollTo(0, 0);
  tell();
}

/** Returns the path of the page below the mount. */
export function usePath(): string {
  return useSyncExternalStore(subscribe, () => location.pathname.slice(MOUNT.length) || "/");
}

/** Returns the line that the address points to, as in `#event-17`. */
export function useLine(): number | null {
  return useSyncExternalStore(subscribe, () => Number(/^#event-(\d+)$/.exec(location.hash)?.[1] ?? 0)) || null;
}

/** Returns a value that is stored in the page's URL, and a function to change it. */
export function useQuery(name: string): [string, (value: string) => void] {
  const value = useSyncExternalStore(subscribe, () => new URLSearchParams(location.search).get(name) ?? "");
  const change = (next: string) => {
    const query = new URLSearchParams(location.search);
    if (next) query.set(name, next);
    else query.delete(name);
    const text = query.toString();
    history.replaceState(history.state, "", `${location.pathname}${text ? `?${text}` : ""}${location.hash}`);
    tell();
  };
  return [value, change];
}

/** Returns the task whose page has this path, or null for another path. */
export function taskOf(path: string): string | null {
  const id = /^\/tasks\/([^/]+)$/.exec(path)?.[1];
  try {
    const task = id ? decodeURIComponent(id) : null;
    return task && /^[\w.:~-]{1,128}$/.test(task) ? task : null;
  } catch {
    return null;
  }
}

export interface LinkProps {
  to: string;
  className?: string;
  name?: string;
  children: ReactNode;
}

/** A link within the page that keeps the connection open. */
export function Link({ to, className, name, children }: LinkProps) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (name) keepHere({ focus: name });
    go(to);
  };
  return (
    <a href={MOUNT + to} className={className} data-name={name} onClick={follow}>
      {children}
    </a>
  );
}

const narrow = () => matchMedia("(max-width: 760px)");

/** Returns whether the page is as narrow as a phone. */
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
