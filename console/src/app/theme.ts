import { useSyncExternalStore } from "react";
import { remember, remembered } from "./memory";

export type Theme = "system" | "light" | "dark";
export const THEMES: readonly Theme[] = ["system", "light", "dark"];

const listeners = new Set<() => void>();
const dark = window.matchMedia("(prefers-color-scheme: dark)");
let chosen = restored();

function restored(): Theme {
  const saved = remembered("theme");
  return saved === "light" || saved === "dark" ? saved : "system";
}

function apply(): void {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  for (const listener of listeners) listener();
}

function isDark(): boolean {
  return chosen === "dark" || (chosen === "system" && dark.matches);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Call before the first render, so that no light flash precedes a dark page. */
export function startTheme(): void {
  dark.addEventListener("change", apply);
  apply();
}

export function chooseTheme(theme: Theme): void {
  chosen = theme;
  remember("theme", theme);
  apply();
}

export function useTheme(): { theme: Theme; isDark: boolean } {
  const theme = useSyncExternalStore(subscribe, () => chosen);
  return { theme, isDark: useSyncExternalStore(subscribe, isDark) };
}
