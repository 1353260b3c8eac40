import { isOver, type Stop, type Trip } from "./model";

const QUARTER_MS = 15 * 60_000;
const HOUR_MS = 3_600_000;
const MOST_TICKS = 9;

/** From when to when a timeline reaches, epoch ms: whole quarters of an hour around all that is known of the trips. */
export interface Span {
  from: number;
  to: number;
}

export function spanOf(trips: readonly Trip[], now: number): Span | null {
  const times = trips.flatMap((trip) => [
    trip.plannedStart,
    trip.startedAt,
    trip.endedAt,
    isOver(trip) || trip.state === "planned" ? null : now,
    ...trip.stops.flatMap((stop) => [stop.plannedAt, stop.arrivedAt, stop.departedAt, stop.eta?.p10 ?? null, stop.eta?.p90 ?? null]),
  ]);
  const known = times.filter((at) => at !== null);
  if (known.length === 0) return null;
  const from = Math.floor(Math.min(...known) / QUARTER_MS) * QUARTER_MS;
  const to = Math.ceil((Math.max(...known) + 1) / QUARTER_MS) * QUARTER_MS;
  return { from, to: Math.max(to, from + HOUR_MS) };
}

/** Where an instant lies in the span, 0 to 1; outside of it at the nearer end. */
export function share(span: Span, at: number): number {
  return Math.max(0, Math.min(1, (at - span.from) / (span.to - span.from)));
}

/** Whole quarters, halves or hours to name along the span. */
export function ticksOf(span: Span): number[] {
  const step = [QUARTER_MS, 2 * QUARTER_MS, HOUR_MS, 2 * HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS].find(
    (each) => (span.to - span.from) / each <= MOST_TICKS,
  );
  if (step === undefined) return [span.from, span.to];
  const first = Math.ceil(span.from / step) * step;
  return Array.from({ length: Math.floor((span.to - first) / step) + 1 }, (_, index) => first + index * step);
}

/** What one stop puts on the line of its trip. */
export interface Mark {
  stop: Stop;
  planned: number | null;
  /** Being there: from arrival to departure, or until now. */
  visit: { from: number; to: number } | null;
  /** Expected: the time told, and its band. */
  expected: { at: number; from: number; to: number } | null;
}

export function marksOf(trip: Trip, now: number): Mark[] {
  return trip.stops.map((stop) => ({
    stop,
    planned: stop.plannedAt,
    visit: stop.arrivedAt === null ? null : { from: stop.arrivedAt, to: stop.departedAt ?? (isOver(trip) ? stop.arrivedAt : now) },
    expected:
      stop.eta === null || stop.state !== "planned" || isOver(trip)
        ? null
        : { at: stop.eta.at, from: stop.eta.p10, to: stop.eta.p90 },
  }));
}
