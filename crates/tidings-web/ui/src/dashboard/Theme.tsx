import { useState } from "react";

const KEY = "tidings-theme";
const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

/** What was chosen; without storage, as in some private windows, the system's. */
function chosen(): Theme {
  try {
    const stored = localStorage.getItem(KEY) as Theme | null;
    return stored && THEMES.includes(stored) ? stored : "system";
  } catch {
    return "system";
  }
}

export function applyTheme(theme: Theme = chosen()): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Light, dark, or as the system has it. */
export function ThemeChoice() {
  const [theme, setTheme] = useState(chosen);
  return (
    <select
      className="td-input db-theme"
      aria-label="Theme"
      value={theme}
      onChange={(event) => {
        const next = event.target.value as Theme;
        setTheme(next);
        applyTheme(next);
        try {
          localStorage.setItem(KEY, next);
        } catch {
          // It holds until the page is closed.
        }
      }}
    >
      <option value="system">System</option>
      <option value="light">Light</option>
      <option value="dark">Dark</option>
    </select>
  );
}
