import { describe, expect, it } from "vitest";
import { told, type Told } from "./arrivals";
import type { Trip } from "./model";
import { reasonWords } from "./words";
import { en } from "../strings/en";
import { formatFor } from "../strings/format";

const EIGHT = Date.UTC(2026, 8, 14, 8);
const MINUTE = 60_000;

const stop = (id: string, state: "planned" | "served") => ({
  id,
  seq: 1,
  site: `site_${id}`,
  name: id,
  lat: 47.9,
  lon: 10.2,
  radiusM: 50,
  polygon: [],
  plannedAt: null,
  serviceS: null,
  quantity: null,
  state,
  arrivedAt: null,
  departedAt: null,
  eta: null,
});

const trip: Trip = {
  id: "trip_1",
  code: null,
  route: null,
  device: "truck-1",
  day: "2026-09-14",
  plannedStart: null,
  startedAt: EIGHT,
  endedAt: null,
  reason: "",
  state: "under_way",
  version: 3,
  stops: [stop("a", "served"), stop("b", "planned")],
};

const iso = (at: number) => new Date(at).toISOString();
const times = (eta: number) => ({ eta, p10: eta - MINUTE, p50: eta + MINUTE, p90: eta + 3 * MINUTE });

const kept = (madeAt: number, eta: number) => ({
  device: "truck-1",
  made_at: iso(madeAt),
  fix_at: iso(madeAt - 2000),
  age_s: 2,
  lat: 47.9,
  lon: 10.1,
  method: "history",
  reason: "earlier trips know 97% of the route",
  on_route: true,
  progress_m: 900,
  length_m: 4000,
  source: "learned",
  arrivals: [{ stop: "b", site: "site_b", name: "b", stops_before: 0, eta: iso(eta), p10: iso(eta), p50: iso(eta), p90: iso(eta) }],
});

const news = (madeAt: number, eta: number): Told => ({
  trip: "trip_1",
  made_at: madeAt,
  method: "detour",
  reason: "off the route for 31 s",
  age_s: 4,
  on_route: false,
  progress_m: 1200,
  arrivals: [
    { stop: "a", site: "site_a", ...times(eta) },
    { stop: "b", site: "site_b", ...times(eta) },
  ],
});

describe("the arrival times of a trip", () => {
  it("are those that were made last, read or told", () => {
    const at = (found: ReturnType<typeof told>) => found.trip.stops[1]?.eta?.at;
    expect(at(told(trip, kept(EIGHT, EIGHT + 9 * MINUTE), news(EIGHT - 1, EIGHT)))).toBe(EIGHT + 9 * MINUTE);
    expect(at(told(trip, kept(EIGHT, EIGHT + 9 * MINUTE), news(EIGHT + 1, EIGHT + 12 * MINUTE)))).toBe(EIGHT + 12 * MINUTE);
    expect(told(trip, null, null)).toEqual({ trip, grounds: null });
  });

  it("are told of stops ahead alone, with what they rest on", () => {
    const { trip: shown, grounds } = told(trip, kept(EIGHT, EIGHT), news(EIGHT + 5000, EIGHT + 12 * MINUTE));
    expect(shown.stops[0]?.eta).toBeNull();
    expect(grounds).toEqual({
      method: "detour",
      reason: "off the route for 31 s",
      madeAt: EIGHT + 5000,
      fixAt: EIGHT + 1000,
      isOnRoute: false,
      progressM: 1200,
      lengthM: 4000,
    });
  });
});

describe("the reason behind them", () => {
  const f = formatFor("en-GB", en.compass);

  it("is put into the words of the language, with its number", () => {
    expect(reasonWords("no position for 95 s", en, f)).toBe("No position for 1 min");
    expect(reasonWords("off the route for 31 s", en, f)).toBe("Off the route for 31 secs");
    expect(reasonWords("earlier trips know 97% of the route", en, f)).toBe("Earlier trips know 97 % of the route");
  });

  it("is left out where the method says it already, and kept as it is where it is new", () => {
    expect(reasonWords("no earlier trip tells of this route yet", en, f)).toBe("");
    expect(reasonWords("the ferry waits", en, f)).toBe("the ferry waits");
  });
});
