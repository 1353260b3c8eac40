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

type Kept = Schemas["ArrivalsBody"];

/** The trip with the arrival times told last, whichever way they came. Times of stops that are not ahead are let go. */
export function told(trip: Trip, kept: Kept | null, news: Told | null): { trip: Trip; grounds: Grounds | null } {
  const read = kept === null ? null : toldOf(kept);
  const latest = read === null || (news !== null && news.made_at >= read.made_at) ? news : read;
  if (latest === null) return { trip, grounds: null };
  const etas = new Map<string, Eta>();
  for (const { stop, eta, p10, p50, p90 } of latest.arrivals) {
    etas.set(stop, { at: eta, p10, p50, p90, method: latest.method, madeAt: latest.made_at });
  }
  const stops = trip.stops.map((stop) => {
    const eta = etas.get(stop.id);
    const isNewer = eta !== undefined && (stop.eta === null || eta.madeAt >= stop.eta.madeAt);
    return isNewer && stop.state === "planned" ? { ...stop, eta } : stop;
  });
  return { trip: { ...trip, stops }, grounds: groundsOf(latest, read === null ? null : kept) };
}

function groundsOf(latest: Told, kept: Kept | null): Grounds {
  return {
    method: latest.method,
    reason: latest.reason,
    madeAt: latest.made_at,
    fixAt: latest.made_at - latest.age_s * 1000,
    isOnRoute: latest.on_route,
    progressM: latest.progress_m,
    lengthM: kept?.length_m ?? null,
  };
}

function toldOf(kept: Kept): Told | null {
  return kept as unknown as Told;
}
