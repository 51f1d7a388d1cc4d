/** Calls `changed` when an element's size changes, where the page can tell; returns what stops it. */
export function observeSize(elements: Iterable<Element>, changed: () => void): () => void {
  if (typeof ResizeObserver === "undefined") return () => {};
  const observer = new ResizeObserver(changed);
  for (const element of elements) observer.observe(element);
  return () => observer.disconnect();
}
