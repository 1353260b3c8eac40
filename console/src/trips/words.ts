import type { Format } from "../strings/format";
import type { Strings } from "../strings";
import type { Eta } from "./model";

const MINUTE_MS = 60_000;

/** "12 min late", "on time": under a minute nobody counts. */
export function delayWords(delay: number | null, s: Strings, f: Format): string {
  if (delay === null) return s.trips.noNews;
  if (Math.abs(delay) < MINUTE_MS) return s.trips.punctual;
  const time = f.duration(Math.floor(Math.abs(delay) / MINUTE_MS) * MINUTE_MS);
  return delay > 0 ? s.trips.behind(time) : s.trips.ahead(time);
}

export function bandWords(eta: Eta, s: Strings, f: Format): string {
  return s.trips.between(f.hour(eta.p10), f.hour(eta.p90));
}

/** A day `YYYY-MM-DD` as people of the language write it; noon, so that no zone makes another day of it. */
export function dayWords(day: string, f: Format): string {
  const [year = 1970, month = 1, date = 1] = day.split("-").map(Number);
  return f.day(new Date(year, month - 1, date, 12).getTime());
}

/** Why an arrival time is what it is, as the engine says it (docs/eta.md), in the words of the page. "": the method says it. */
export function reasonWords(reason: string, s: Strings, f: Format): string {
  const number = Number(/\d+/.exec(reason)?.[0] ?? Number.NaN);
  if (reason.startsWith("no earlier trip")) return "";
  if (Number.isNaN(number)) return reason;
  if (reason.startsWith("no position for")) return s.trips.page.reasons.silent(f.duration(number * 1000));
  if (reason.startsWith("off the route for")) return s.trips.page.reasons.away(f.duration(number * 1000));
  if (reason.startsWith("earlier trips know")) return s.trips.page.reasons.known(f.integer(number));
  return reason;
}
