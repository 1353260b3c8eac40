const PREFIX = "milkrun.";

/** A choice kept in this browser; null where nothing is kept or nothing may be kept. */
export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // A browser that keeps nothing still works; the choice lasts as long as the page.
    return;
  }
}
