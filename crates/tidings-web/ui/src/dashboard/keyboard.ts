import { useEffect } from "react";

/** Moves the focus to the next or previous row. Without a focus, it starts at the first visible row. */
function move(step: 1 | -1): boolean {
  const rows = [...document.querySelectorAll<HTMLElement>(".db-row")];
  if (rows.length === 0) return false;
  const at = rows.findIndex((row) => row.parentElement!.contains(document.activeElement));
  const next = at < 0 ? rows.find((row) => row.getBoundingClientRect().top >= row.closest(".db-scroll")!.getBoundingClientRect().top) : rows[at + step];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
  return true;
}

const MOVES: Record<string, 1 | -1> = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };

/** Keyboard shortcuts: `/` focuses the search, `j` and `k` move between rows, Escape leaves a field. */
export function useKeyboard(): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target as HTMLElement;
      const writes = target.matches("input, textarea, select, [contenteditable]");
      if (event.key === "Escape" && writes) {
        // The browser would clear a search.
        if (target.matches("input")) event.preventDefault();
        return target.blur();
      }
      if (writes) return;
      const step = MOVES[event.key];
      const arrow = event.key.startsWith("Arrow");
      if (event.key === "/") document.querySelector<HTMLElement>("[data-search]")?.focus();
      else if (!step || (arrow && !target.matches(".db-row")) || !move(step)) return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
