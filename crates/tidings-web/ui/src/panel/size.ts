/** Calls `changed` when an element's size changes, if the browser supports it. Returns a function that stops it. */
export function observeSize(elements: Iterable<Element>, changed: () => void): () => void {
  if (typeof ResizeObserver === "undefined") return () => {};
  const observer = new ResizeObserver(changed);
  for (const element of elements) observer.observe(element);
  return () => observer.disconnect();
}
