/** The longest time that changes wait when no frame is drawn, as in a hidden tab, in milliseconds. */
const SLOWEST = 500;

/**
 * Calls `flush` once for all changes of a frame, so that ten thousand events a
 * second draw a page no more often than ten do.
 */
export function perFrame(flush: () => void): { schedule(): void; cancel(): void } {
  let frame: number | null = null;
  let timer: ReturnType<typeof setTimeout> | null = null;
  const cancel = () => {
    if (frame !== null) cancelAnimationFrame(frame);
    if (timer !== null) clearTimeout(timer);
    frame = timer = null;
  };
  const run = () => {
    cancel();
    flush();
  };
  return {
    schedule() {
      if (timer !== null) return;
      timer = setTimeout(run, SLOWEST);
      if (typeof requestAnimationFrame === "function") frame = requestAnimationFrame(run);
    },
    cancel,
  };
}
