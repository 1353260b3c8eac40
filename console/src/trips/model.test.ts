import { describe, expect, it } from "vitest";
import { byUrgency, delayMs, moved, movesOf, nextStop, NO_TRIP_FILTER, passes, progress, standingOf, type Stop, type Trip } from "./model";
import { marksOf, share, spanOf, ticksOf } from "./timeline";

const MINUTE = 60_000;
const EIGHT = Date.UTC(2026, 8, 14, 8);

const stop = (id: string, more: Partial<Stop> = {}): Stop => ({
  id,
  seq: 1,
  site: `site_${id}`,
  name: `Farm ${id}`,
  lat: 47.9,
  lon: 10.2,
  radiusM: 50,
  polygon: [],
  plannedAt: EIGHT,
  serviceS: 300,
  quantity: null,
  state: "planned",
  arrivedAt: null,
  departedAt: null,
  eta: null,
  ...more,
});

const eta = (at: number) => ({ at, p10: at - MINUTE, p50: at + MINUTE, p90: at + 4 * MINUTE, method: "history", madeAt: at - 30 * MINUTE });

const trip = (id: string, more: Partial<Trip> = {}): Trip => ({
  id,
  code: null,
  route: null,
  device: "truck-1",
  day: "2026-09-14",
  plannedStart: EIGHT - 30 * MINUTE,
  startedAt: null,
  endedAt: null,
  reason: "",
  state: "under_way",
  version: 1,
  stops: [stop("a")],
  ...more,
});

describe("the delay of a trip", () => {
  it("is that of the next stop, by its ETA", () => {
    const late = trip("t", { stops: [stop("a", { state: "served", arrivedAt: EIGHT }), stop("b", { eta: eta(EIGHT + 12 * MINUTE) })] });
    expect(delayMs(late, EIGHT)).toBe(12 * MINUTE);
    expect(standingOf(late, EIGHT)).toBe("late");
    expect(nextStop(late)?.id).toBe("b");
  });

  it("is at least what the clock says where no ETA is there", () => {
    expect(delayMs(trip("t"), EIGHT + 7 * MINUTE)).toBe(7 * MINUTE);
    expect(standingOf(trip("t"), EIGHT - MINUTE)).toBe("unknown");
  });

  it("of one that should have begun counts from its start", () => {
    const waiting = trip("t", { state: "planned", plannedStart: EIGHT });
    expect(delayMs(waiting, EIGHT - MINUTE)).toBeNull();
    expect(delayMs(waiting, EIGHT + 6 * MINUTE)).toBe(6 * MINUTE);
  });

  it("of one that is over is how its last stop was reached", () => {
    const done = trip("t", { state: "done", stops: [stop("a", { state: "served", arrivedAt: EIGHT - 6 * MINUTE }), stop("b", { state: "skipped" })] });
    expect(delayMs(done, EIGHT + 600 * MINUTE)).toBe(-6 * MINUTE);
    expect(standingOf(done, EIGHT)).toBe("early");
    expect(standingOf({ ...done, state: "abandoned" }, EIGHT)).toBe("unknown");
    expect(progress(done)).toEqual({ done: 2, all: 2 });
  });
});

describe("a list of trips", () => {
  const late = (id: string, minutes: number) => trip(id, { stops: [stop("a", { eta: eta(EIGHT + minutes * MINUTE) })] });

  it("has delays first, the longest on top, and what is over last", () => {
    const all = [
      trip("done", { state: "done", stops: [stop("a", { state: "served", arrivedAt: EIGHT + 60 * MINUTE })] }),
      trip("waits", { state: "planned", plannedStart: EIGHT + 60 * MINUTE }),
      late("on time", 1),
      late("late", 8),
      late("later", 25),
    ];
    expect(byUrgency(all, EIGHT).map((one) => one.id)).toEqual(["later", "late", "on time", "waits", "done"]);
  });

  it("is searched by truck, route and stop", () => {
    const one = trip("t", { route: "route_1" });
    const routes = new Map([["route_1", "Morning round"]]);
    const find = (text: string) => passes(one, { ...NO_TRIP_FILTER, text }, EIGHT, routes);
    expect([find("morning"), find("TRUCK-1"), find("farm a"), find("elsewhere")]).toEqual([true, true, true, false]);
    expect(passes(one, { ...NO_TRIP_FILTER, state: "done" }, EIGHT, routes)).toBe(false);
  });
});

describe("what may be done", () => {
  it("follows the state", () => {
    expect(movesOf(trip("t", { state: "planned", device: null }))).toEqual(["assign", "abandon"]);
    expect(movesOf(trip("t", { state: "planned" }))).toEqual(["assign", "start", "abandon"]);
    expect(movesOf(trip("t"))).toEqual(["assign", "finish", "abandon"]);
    expect(movesOf(trip("t", { state: "done" }))).toEqual([]);
  });

  it("moves a stop among those ahead alone", () => {
    const round = trip("t", { stops: [stop("a", { state: "served" }), stop("b"), stop("c"), stop("d", { state: "skipped" })] });
    expect(moved(round, "c", -1)).toEqual(["c", "b"]);
    expect(moved(round, "b", -1)).toBeNull();
    expect(moved(round, "c", 1)).toBeNull();
    expect(moved(round, "a", 1)).toBeNull();
  });
});

describe("a timeline", () => {
  const round = trip("t", {
    startedAt: EIGHT - 20 * MINUTE,
    stops: [stop("a", { state: "arrived", arrivedAt: EIGHT + 3 * MINUTE }), stop("b", { plannedAt: EIGHT + 40 * MINUTE, eta: eta(EIGHT + 50 * MINUTE) })],
  });

  it("spans whole quarters of an hour around all that is known", () => {
    const span = spanOf([round], EIGHT + 10 * MINUTE);
    expect(span).toEqual({ from: EIGHT - 30 * MINUTE, to: EIGHT + 60 * MINUTE });
    if (span === null) return;
    expect(share(span, EIGHT)).toBeCloseTo(1 / 3);
    expect(ticksOf(span)).toHaveLength(7);
    expect(spanOf([], EIGHT)).toBeNull();
  });

  it("shows a visit until now, and the band of what is ahead", () => {
    const [a, b] = marksOf(round, EIGHT + 10 * MINUTE);
    expect(a).toMatchObject({ visit: { from: EIGHT + 3 * MINUTE, to: EIGHT + 10 * MINUTE }, expected: null });
    expect(b).toMatchObject({ visit: null, expected: { at: EIGHT + 50 * MINUTE, from: EIGHT + 49 * MINUTE, to: EIGHT + 54 * MINUTE } });
  });
});
