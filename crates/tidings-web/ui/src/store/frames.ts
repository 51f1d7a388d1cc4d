/** The longest time in milliseconds that changes wait if no frame is drawn, as in a hidden tab. */
const SLOWEST = 500;

/**
 * Calls `flush` once for all changes of a frame. Ten thousand events per second then cause no more
 * drawing than ten do.
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
