import { useState } from "react";
import { keep, recall } from "./storage.js";

const KEY = "tidings-theme";
const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

function chosen(): Theme {
  const stored = recall(() => localStorage, KEY);
  return THEMES.find((theme) => theme === stored) ?? "system";
}

export function applyTheme(theme: Theme = chosen()): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** A choice between light, dark, and the system's setting. */
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
        keep(() => localStorage, KEY, next);
      }}
    >
      <option value="system">System</option>
      <option value="light">Light</option>
      <option value="dark">Dark</option>
    </select>
  );
}
