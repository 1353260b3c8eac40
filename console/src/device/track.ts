import { distanceM, mercator, shortestTurn } from "../fleet/motion";
import type { TrackFix } from "../api/history";

/** Between fixes further apart than this nothing is known: no line, no distance, no standing. */
export const GAP_MS = 5 * 60_000;
const STANDING_BELOW_MPS = 1;
const HOUR_MS = 3_600_000;

export interface Moment {
  lat: number;
  lon: number;
  speed: number | null;
  heading: number | null;
  /** False between two fixes with a gap, before the first and after the last. */
  isKnown: boolean;
}

export interface Summary {
  distanceM: number;
  drivingMs: number;
  standingMs: number;
  topMps: number | null;
}

/** Where the vehicle was at `at` (epoch ms): between its fixes, or at the nearest one. Null without any. */
export function momentAt(fixes: readonly TrackFix[], at: number): Moment | null {
  const next = indexAfter(fixes, at);
  const before = fixes[next - 1];
  const after = fixes[next];
  const only = before ?? after;
  if (only === undefined) return null;
  if (before === undefined || after === undefined) return { ...only, isKnown: only.ts === at };
  const span = after.ts - before.ts;
  if (span > GAP_MS) return { ...before, isKnown: before.ts === at };
  const share = (at - before.ts) / span;
  const heading =
    before.heading === null || after.heading === null
      ? before.heading
      : (before.heading + shortestTurn(before.heading, after.heading) * share + 360) % 360;
  return {
    lat: before.lat + (after.lat - before.lat) * share,
    lon: before.lon + (after.lon - before.lon) * share,
    speed: before.speed === null || after.speed === null ? before.speed : before.speed + (after.speed - before.speed) * share,
    heading,
    isKnown: true,
  };
}

/** Index of the first fix after `at`. */
export function indexAfter(fixes: readonly TrackFix[], at: number): number {
  let [low, high] = [0, fixes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((fixes[middle]?.ts ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function summary(fixes: readonly TrackFix[]): Summary {
  const sum: Summary = { distanceM: 0, drivingMs: 0, standingMs: 0, topMps: null };
  fixes.forEach((fix, index) => {
    if (fix.speed !== null) sum.topMps = Math.max(sum.topMps ?? 0, fix.speed);
    const before = fixes[index - 1];
    if (before === undefined || fix.ts - before.ts > GAP_MS) return;
    const metres = distanceM(before, fix);
    const ms = fix.ts - before.ts;
    sum.distanceM += metres;
    if (ms > 0 && metres / (ms / 1000) >= STANDING_BELOW_MPS) sum.drivingMs += ms;
    else sum.standingMs += ms;
  });
  return sum;
}

export interface Step {
  x: number;
  y: number;
  ts: number;
  startsAnew: boolean;
}

/** The track in map units 0 to 1, broken where there is a gap. */
export function stepsOf(fixes: readonly TrackFix[]): Step[] {
  return fixes.map((fix, index) => {
    const before = fixes[index - 1];
    return { ...mercator(fix.lat, fix.lon), ts: fix.ts, startsAnew: before === undefined || fix.ts - before.ts > GAP_MS };
  });
}

/** The whole hours that hold the track, within its day: what a slider has to span. */
export function hoursOf(fixes: readonly TrackFix[], day: { from: number; to: number }): { from: number; to: number } {
  const first = fixes[0]?.ts ?? day.from;
  const last = fixes.at(-1)?.ts ?? day.to;
  const from = day.from + Math.floor((first - day.from) / HOUR_MS) * HOUR_MS;
  return { from, to: Math.min(day.to, from + Math.max(1, Math.ceil((last + 1 - from) / HOUR_MS)) * HOUR_MS) };
}

/** Midnight of a day in this browser's time zone, and the next one: 23 to 25 hours later. */
export function dayOf(day: string): { from: number; to: number } {
  const [year = 1970, month = 1, date = 1] = day.split("-").map(Number);
  return { from: new Date(year, month - 1, date).getTime(), to: new Date(year, month - 1, date + 1).getTime() };
}

/** The day of an instant as `YYYY-MM-DD` in this browser's time zone, `days` later. */
export function dayName(at: number, days = 0): string {
  const date = new Date(at);
  date.setDate(date.getDate() + days);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
