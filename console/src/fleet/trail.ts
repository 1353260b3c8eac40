import type { Fix } from "../live/protocol";
import { distanceM, mercator } from "./motion";

const TRAIL_MS = 10 * 60_000;
const MOST_STEPS = 160;
const APART_M = 35;
const GAP_MS = 90_000;
/** x, y, ts of each step, one after the other: ten thousand trails of objects would not fit. */
const STRIDE = 3;

/** The way of the last minutes, thinned to what can be seen. Older steps fall off by themselves. */
export class Trail {
  private steps: number[] = [];
  private last: Fix | null = null;

  get length(): number {
    return this.steps.length / STRIDE;
  }

  add(fix: Fix): void {
    if (this.last !== null && (fix.ts <= this.last.ts || distanceM(this.last, fix) < APART_M)) return;
    const { x, y } = mercator(fix.lat, fix.lon);
    this.steps.push(x, y, fix.ts);
    this.last = fix;
    const surplus = this.length - MOST_STEPS;
    const tooOld = this.steps.findIndex((value, index) => index % STRIDE === 2 && value > fix.ts - TRAIL_MS);
    const drop = Math.max(surplus, Math.floor(tooOld / STRIDE));
    if (drop > 0) this.steps.splice(0, drop * STRIDE);
  }

  /** Put the way before what is known in front of it: `fixes` in order of time. */
  precede(fixes: readonly Fix[]): void {
    const first = this.steps[2] ?? Number.POSITIVE_INFINITY;
    const [known, last] = [this.steps, this.last];
    this.steps = [];
    this.last = null;
    for (const fix of fixes) if (fix.ts < first) this.add(fix);
    this.steps.push(...known);
    this.last = last ?? this.last;
  }

  /** Visit the steps from old to new; `startsAnew`: no line leads here, for nothing was heard for a while. */
  walk(visit: (x: number, y: number, startsAnew: boolean) => void): void {
    let before = Number.NEGATIVE_INFINITY;
    for (let at = 0; at < this.steps.length; at += STRIDE) {
      const ts = this.steps[at + 2] ?? 0;
      visit(this.steps[at] ?? 0, this.steps[at + 1] ?? 0, ts - before > GAP_MS);
      before = ts;
    }
  }
}
