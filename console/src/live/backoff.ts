const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/**
 * How long to wait before try number `attempt` (from 0): anything up to a ceiling that doubles up to half a minute, so
 * that a thousand consoles do not come back in the same second. `random` gives [0, 1).
 */
export function delayMs(attempt: number, random: () => number): number {
  return Math.round(random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16)));
}
