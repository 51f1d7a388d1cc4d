/** Signals from the page around a client. */
export interface PageSignals {
  /** The network is back, or the page is visible again, so this is a good time to reconnect. */
  wake(): void;
  /** The browser reports that the network is gone. */
  offline(): void;
  /** The page enters the back-forward cache, in which connections do not survive. */
  suspend(): void;
  /** The page has left the back-forward cache. */
  resume(): void;
}

/** Listens to the page. Returns a function that stops it. Without a page it does nothing. */
export function listenToPage(signals: PageSignals): () => void {
  const stop = new AbortController();
  const on = (target: EventTarget | undefined, type: string, handler: (event: Event) => void) => target?.addEventListener?.(type, handler, stop);
  const page = globalThis.window as Window | undefined;
  const text = globalThis.document as Document | undefined;
  on(page, "online", () => signals.wake());
  on(page, "offline", () => signals.offline());
  on(page, "pagehide", (event) => (event as PageTransitionEvent).persisted && signals.suspend());
  on(page, "pageshow", (event) => (event as PageTransitionEvent).persisted && signals.resume());
  on(text, "visibilitychange", () => text?.visibilityState === "visible" && signals.wake());
  // The page was frozen, like a tab in the background, and continues now.
  on(text, "resume", () => signals.wake());
  return () => stop.abort();
}

/** Returns whether the browser reports that there is no network. It may be wrong. */
export function seemsOffline(): boolean {
  return globalThis.navigator?.onLine === false;
}
