import type { Schemas } from "../api/client";
import type { Eta, Trip } from "./model";

/** Upon what the arrival times of a trip rest. */
export interface Grounds {
  method: string;
  reason: string;
  madeAt: number;
  /** When the newest position was measured. */
  fixAt: number;
  isOnRoute: boolean;
  progressM: number;
  /** Of the whole way; null: not known. */
  lengthM: number | null;
}

/** `data` of an `arrivals` event of the channel `trip:{id}` (docs/live.md). Epoch ms, but for the age. */
export interface Told {
  trip: string;
  made_at: number;
  method: string;
  reason: string;
  age_s: number;
  on_route: boolean;
  progress_m: number;
  arrivals: { stop: string; site: string; eta: number; p10: number; p50: number; p90: number }[];
}

type Kept = Schemas["EstimateBody"];

/** The trip with the arrival times told last, whichever way they came. Times of stops that are not ahead are let go. */
export function told(trip: Trip, kept: Kept | null, news: Told | null): { trip: Trip; grounds: Grounds | null } {
  const read = kept === null ? null : { ...groundsOf(kept), arrivals: kept.arrivals.map(msOf) };
  const heard = news === null ? null : { ...groundsOfNews(news, kept), arrivals: news.arrivals };
  const latest = heard !== null && (read === null || heard.madeAt >= read.madeAt) ? heard : read;
  if (latest === null) return { trip, grounds: null };
  const { arrivals, ...grounds } = latest;
  const etas = new Map(
    arrivals.map(({ stop, eta, p10, p50, p90 }): [string, Eta] => [stop, { at: eta, p10, p50, p90, method: grounds.method, madeAt: grounds.madeAt }]),
  );
  const stops = trip.stops.map((stop) => {
    const eta = etas.get(stop.id);
    const isNewer = eta !== undefined && (stop.eta === null || eta.madeAt >= stop.eta.madeAt);
    return isNewer && stop.state === "planned" ? { ...stop, eta } : stop;
  });
  return { trip: { ...trip, stops }, grounds };
}

function groundsOf(kept: Kept): Grounds {
  return {
    method: kept.method,
    reason: kept.reason,
    madeAt: Date.parse(kept.made_at),
    fixAt: Date.parse(kept.fix_at),
    isOnRoute: kept.on_route,
    progressM: kept.progress_m,
    lengthM: kept.length_m,
  };
}

function groundsOfNews(news: Told, kept: Kept | null): Grounds {
  return {
    method: news.method,
    reason: news.reason,
    madeAt: news.made_at,
    fixAt: news.made_at - news.age_s * 1000,
    isOnRoute: news.on_route,
    progressM: news.progress_m,
    lengthM: kept?.length_m ?? null,
  };
}

function msOf({ stop, site, eta, p10, p50, p90 }: Kept["arrivals"][number]): Told["arrivals"][number] {
  return { stop, site, eta: Date.parse(eta), p10: Date.parse(p10), p50: Date.parse(p50), p90: Date.parse(p90) };
}
