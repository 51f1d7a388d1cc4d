/** What the page around a client tells it. */
export interface PageSignals {
  /** The network is back, or the page is looked at again: now is the time to try. */
  wake(): void;
  /** The network is gone, as the browser thinks. */
  offline(): void;
  /** The page goes into the back-forward cache, where connections do not survive. */
  suspend(): void;
  /** The page has come out of it. */
  resume(): void;
}

/** Listens to the page; gives back what stops it. Without a page nothing happens. */
export function listenToPage(signals: PageSignals): () => void {
  const stop: (() => void)[] = [];
  const on = (target: EventTarget | undefined, type: string, handler: (event: Event) => void) => {
    if (!target?.addEventListener) return;
    target.addEventListener(type, handler);
    stop.push(() => target.removeEventListener(type, handler));
  };
  const page = globalThis.window as Window | undefined;
  const text = globalThis.document as Document | undefined;
  on(page, "online", () => signals.wake());
  on(page, "offline", () => signals.offline());
  on(page, "pagehide", (event) => (event as PageTransitionEvent).persisted && signals.suspend());
  on(page, "pageshow", (event) => (event as PageTransitionEvent).persisted && signals.resume());
  on(text, "visibilitychange", () => text?.visibilityState === "visible" && signals.wake());
  // Thawed after having been frozen, as a tab in the background may be.
  on(text, "resume", () => signals.wake());
  return () => stop.splice(0).forEach((end) => end());
}

/** Whether the browser says that there is no network. It may be wrong. */
export function seemsOffline(): boolean {
  return globalThis.navigator?.onLine === false;
}
