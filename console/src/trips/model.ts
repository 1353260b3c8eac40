/** Trips as a dispatcher reads them. Pure. Times are epoch milliseconds, lengths metres, services seconds. */

export type TripState = "planned" | "under_way" | "done" | "abandoned";
export type StopState = "planned" | "arrived" | "served" | "skipped";
export const TRIP_STATES: readonly TripState[] = ["under_way", "planned", "done", "abandoned"];

/** When a stop is reached: what to tell people, and the band of which one truck in ten comes before and one after. */
export interface Eta {
  at: number;
  p10: number;
  p50: number;
  p90: number;
  method: string;
  madeAt: number;
}

export interface Stop {
  id: string;
  seq: number;
  site: string;
  name: string;
  lat: number;
  lon: number;
  radiusM: number;
  /** Its area by the corners, in place of the circle; empty: the circle. */
  polygon: { lat: number; lon: number }[];
  plannedAt: number | null;
  serviceS: number | null;
  /** What is expected there, in the unit that the people of the fleet use. */
  quantity: number | null;
  state: StopState;
  arrivedAt: number | null;
  departedAt: number | null;
  eta: Eta | null;
}

export interface Trip {
  id: string;
  code: string | null;
  route: string | null;
  device: string | null;
  day: string;
  plannedStart: number | null;
  startedAt: number | null;
  endedAt: number | null;
  /** Why it was abandoned. */
  reason: string;
  state: TripState;
  version: number;
  stops: Stop[];
}

/** What the trip stands at against its plan. */
export type Standing = "late" | "early" | "on_time" | "unknown";
export const STANDINGS: readonly Standing[] = ["late", "on_time", "early", "unknown"];

/** Within this of the plan a truck is on time: what people take "eight o'clock" to mean. */
const TOLERANCE_MS = 5 * 60_000;

export function isOver(trip: Pick<Trip, "state">): boolean {
  return trip.state === "done" || trip.state === "abandoned";
}

/** The first stop that is still to come. */
export function nextStop(trip: Trip): Stop | null {
  if (isOver(trip)) return null;
  return trip.stops.find((stop) => stop.state === "planned") ?? null;
}

/** The stop the truck stands at. */
export function hereStop(trip: Trip): Stop | null {
  return trip.state === "under_way" ? (trip.stops.find((stop) => stop.state === "arrived") ?? null) : null;
}

/** How far a stop is behind its plan: as it was, or as it is expected; null where nothing says. */
export function stopDelayMs(stop: Stop): number | null {
  if (stop.plannedAt === null || stop.state === "skipped") return null;
  const at = stop.arrivedAt ?? stop.eta?.at ?? null;
  return at === null ? null : at - stop.plannedAt;
}

/** How far a trip is behind its plan at `now`; negative: ahead of it. Null: neither plan nor news tell. */
export function delayMs(trip: Trip, now: number): number | null {
  if (trip.state === "planned") {
    return trip.plannedStart !== null && now > trip.plannedStart ? now - trip.plannedStart : null;
  }
  const next = nextStop(trip);
  const ahead = next === null ? null : stopDelayMs(next);
  if (ahead !== null) return ahead;
  // Overdue without an ETA is late by at least what the clock says.
  if (next !== null && next.plannedAt !== null && now > next.plannedAt) return now - next.plannedAt;
  const been = trip.stops.filter((stop) => stop.arrivedAt !== null && stop.plannedAt !== null);
  const last = been.reduce<Stop | null>((a, b) => (a === null || (b.arrivedAt ?? 0) > (a.arrivedAt ?? 0) ? b : a), null);
  return last === null ? null : stopDelayMs(last);
}

export function standingOf(trip: Trip, now: number): Standing {
  const delay = trip.state === "abandoned" ? null : delayMs(trip, now);
  if (delay === null) return "unknown";
  return isLate(delay) ? "late" : delay <= -TOLERANCE_MS ? "early" : "on_time";
}

export function isLate(delay: number): boolean {
  return delay >= TOLERANCE_MS;
}

/** Stops that are done with, and all of them. */
export function progress(trip: Trip): { done: number; all: number } {
  return { done: trip.stops.filter((stop) => stop.state === "served" || stop.state === "skipped").length, all: trip.stops.length };
}

/** Delays first: what runs late by how late it is, what should have begun, what runs, what waits, what is over. */
export function byUrgency(trips: readonly Trip[], now: number): Trip[] {
  const rank = (trip: Trip): number => {
    if (isOver(trip)) return 3;
    if (standingOf(trip, now) === "late") return 0;
    return trip.state === "under_way" ? 1 : 2;
  };
  const keyOf = (trip: Trip) => trip.code ?? trip.device ?? trip.id;
  const start = (trip: Trip) => trip.plannedStart ?? trip.startedAt ?? Number.POSITIVE_INFINITY;
  return [...trips].sort((a, b) => {
    const [ra, rb] = [rank(a), rank(b)];
    if (ra !== rb) return ra - rb;
    if (ra === 0) return (delayMs(b, now) ?? 0) - (delayMs(a, now) ?? 0);
    return start(a) - start(b) || keyOf(a).localeCompare(keyOf(b), "en", { numeric: true });
  });
}

/** What people call it: its code, else its route's name, else its truck. */
export function nameOf(trip: Pick<Trip, "code" | "id" | "device">, route: string | null | undefined): string {
  return trip.code ?? route ?? trip.device ?? trip.id;
}

export interface TripFilter {
  text: string;
  state: TripState | null;
  standing: Standing | null;
}

export const NO_TRIP_FILTER: TripFilter = { text: "", state: null, standing: null };

/** `routes`: their names by id, so that a search finds what is shown. */
export function passes(trip: Trip, filter: TripFilter, now: number, routes: ReadonlyMap<string, string>): boolean {
  if (filter.state !== null && trip.state !== filter.state) return false;
  if (filter.standing !== null && standingOf(trip, now) !== filter.standing) return false;
  const wanted = filter.text.trim().toLowerCase();
  if (wanted === "") return true;
  const route = trip.route === null ? "" : (routes.get(trip.route) ?? "");
  const words = [trip.code ?? "", trip.device ?? "", route, ...trip.stops.map((stop) => stop.name)];
  return words.some((word) => word.toLowerCase().includes(wanted));
}

export function countStandings(trips: readonly Trip[], now: number): Record<Standing, number> {
  const counts = { late: 0, early: 0, on_time: 0, unknown: 0 };
  for (const trip of trips) counts[standingOf(trip, now)] += 1;
  return counts;
}

/** A person's moves that the state of a trip allows (docs/trips.md). */
export type TripMove = "assign" | "start" | "finish" | "abandon";

export function movesOf(trip: Trip): TripMove[] {
  if (trip.state === "planned") return trip.device === null ? ["assign", "abandon"] : ["assign", "start", "abandon"];
  return trip.state === "under_way" ? ["assign", "finish", "abandon"] : [];
}

/** The stops ahead with one of them moved by `step` places; null where it cannot go. Only what is ahead may be moved. */
export function moved(trip: Trip, stop: string, step: -1 | 1): string[] | null {
  const ahead = trip.stops.filter((one) => one.state === "planned").map((one) => one.id);
  const at = ahead.indexOf(stop);
  const to = at + step;
  const [one, other] = [ahead[at], ahead[to]];
  if (one === undefined || other === undefined) return null;
  ahead[at] = other;
  ahead[to] = one;
  return ahead;
}
