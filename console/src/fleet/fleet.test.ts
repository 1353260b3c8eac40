import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LiveEvent, VehicleState } from "../live/protocol";
import { NO_FILTER, countMotions, labelsOf, passes } from "./filter";
import { after, lastSeen, motionOf, vehicleOf } from "./model";
import { Glide, distanceM, mercator, shortestTurn } from "./motion";
import { FleetStore } from "./store";
import { Trail } from "./trail";

const NOW = 1_790_000_000_000;
const state = (device: string, more: Partial<VehicleState> = {}): VehicleState => ({
  device,
  status: "active",
  type: "tanker",
  labels: { depot: "north" },
  online: true,
  since: NOW - 60_000,
  position: { ts: NOW - 1000, lat: 47.9, lon: 10.2, speed: 12, heading: 90 },
  ...more,
});
const position = (device: string, ts: number, lat: number, lon = 10.2): LiveEvent => ({
  offset: 1,
  type: "position",
  data: { device, ts, lat, lon },
});

describe("what a vehicle is doing", () => {
  it("follows from presence, the age of its fix and its speed", () => {
    const fix = { ts: NOW - 1000, lat: 47, lon: 9 };
    expect(motionOf(state("a"), NOW)).toBe("moving");
    expect(motionOf(state("a", { position: { ...fix, speed: 0.4 } }), NOW)).toBe("idle");
    expect(motionOf(state("a", { position: fix }), NOW)).toBe("idle");
    expect(motionOf(state("a", { position: { ...fix, ts: NOW - 120_000, speed: 12 } }), NOW)).toBe("stale");
    expect(motionOf(state("a", { online: false }), NOW)).toBe("offline");
    expect(motionOf(state("a", { position: null }), NOW)).toBe("stale");
    expect(motionOf(state("a", { position: null, online: null }), NOW)).toBe("offline");
  });

  it("is last seen at the later of fix and change of presence", () => {
    expect(lastSeen(state("a"))).toBe(NOW - 1000);
    expect(lastSeen(state("a", { since: NOW }))).toBe(NOW);
    expect(lastSeen(state("a", { since: null, position: null }))).toBeNull();
  });
});

describe("an event", () => {
  const truck = vehicleOf(state("a"));

  it("moves a vehicle on, never back", () => {
    expect(after(truck, position("a", NOW, 48))?.position?.lat).toBe(48);
    expect(after(truck, position("a", NOW - 5000, 48))).toBe(truck);
  });

  it("changes presence, unless it is older than what is known", () => {
    const gone = { offset: 1, type: "presence", data: { device: "a", online: false, since: NOW } } as const;
    expect(after(truck, gone)?.online).toBe(false);
    expect(after(truck, { ...gone, data: { ...gone.data, since: NOW - 90_000 } })).toBe(truck);
  });

  it("replaces what is registered, and takes a decommissioned vehicle away", () => {
    const data = { device: "a", status: "suspended", type: "van", labels: { depot: "south" } };
    expect(after(truck, { offset: 1, type: "device", data })).toMatchObject({ status: "suspended", labels: { depot: "south" } });
    expect(after(truck, { offset: 1, type: "device", data: { ...data, status: "decommissioned" } })).toBeNull();
  });

  it("of a type that is not known changes nothing", () => {
    const unknown = { offset: 1, type: "weather", data: { device: "a" } } as unknown as LiveEvent;
    expect(after(truck, unknown)).toBe(truck);
  });
});

describe("the fleet", () => {
  let store: FleetStore;
  beforeEach(() => {
    vi.useFakeTimers();
    store = new FleetStore(() => 0);
  });
  afterEach(() => vi.useRealTimers());

  it("is replaced as a whole by a snapshot", () => {
    store.replace([state("truck-10"), state("truck-2")]);
    expect(store.list().map((vehicle) => vehicle.device)).toEqual(["truck-2", "truck-10"]);
    store.replace([state("truck-3")]);
    expect([...store.vehicles.keys()]).toEqual(["truck-3"]);
    expect([...store.glides.keys()]).toEqual(["truck-3"]);
  });

  it("tells its listeners once of many events, with the last position of each vehicle", () => {
    const told: number[] = [];
    store.subscribe(() => told.push(store.vehicles.get("a")?.position?.lat ?? 0));
    store.replace([state("a")]);
    for (let step = 1; step <= 50; step++) store.apply([position("a", NOW + step, 47 + step / 1000)]);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(told).toEqual([47.05]);
  });
});

describe("the filter", () => {
  const truck = vehicleOf(state("truck-7"));
  const pass = (filter: Partial<typeof NO_FILTER>) => passes(truck, { ...NO_FILTER, ...filter }, NOW);

  it("finds words in name, type and labels, in any order and case", () => {
    expect(pass({ text: " NORTH truck-7 " })).toBe(true);
    expect(pass({ text: "tanker" })).toBe(true);
    expect(pass({ text: "north truck-8" })).toBe(false);
  });

  it("wants each choice to hold", () => {
    expect(pass({ motions: new Set(["moving", "idle"]), presence: "online", status: "active", label: "depot:north" })).toBe(true);
    expect(pass({ motions: new Set(["idle"]) })).toBe(false);
    expect(pass({ presence: "offline" })).toBe(false);
    expect(pass({ status: "suspended" })).toBe(false);
    expect(pass({ label: "depot:south" })).toBe(false);
  });

  it("knows the fleet's labels and counts its states", () => {
    const fleet = [truck, vehicleOf(state("b", { labels: { depot: "east" }, online: false }))];
    expect(labelsOf(fleet)).toEqual(["depot:east", "depot:north"]);
    expect(countMotions(fleet, NOW)).toEqual({ moving: 1, idle: 0, stale: 0, offline: 1 });
  });
});

describe("a marker", () => {
  const fix = (ts: number, lat: number, heading = 0) => ({ ts, lat, lon: 10, heading });

  it("glides to the next fix in the time between fixes, without a jump at either end", () => {
    const glide = new Glide(fix(0, 47));
    const start = glide.y;
    glide.fix(fix(1000, 47.0002), 5000);
    expect(glide.y).toBe(start);
    const end = mercator(47.0002, 10).y;
    glide.show(5575);
    expect(glide.y).toBeCloseTo((start + end) / 2, 9);
    const shown = glide.y;
    glide.fix(fix(2000, 47.0004), 5575);
    expect(glide.y).toBe(shown);
    glide.show(20_000);
    expect(glide.y).toBe(mercator(47.0004, 10).y);
    expect(glide.isMoving(20_000)).toBe(false);
  });

  it("appears at its new place after a gap in time or an impossible distance", () => {
    for (const next of [fix(600_000, 47.01), fix(1000, 48)]) {
      const glide = new Glide(fix(0, 47));
      glide.fix(next, 1000);
      expect(glide.y).toBe(mercator(next.lat, 10).y);
    }
  });

  it("turns the short way round", () => {
    expect(shortestTurn(350, 10)).toBe(20);
    expect(shortestTurn(10, 350)).toBe(-20);
    expect(shortestTurn(90, 270)).toBe(-180);
    const glide = new Glide(fix(0, 47, 350));
    glide.fix(fix(1000, 47.0002, 10), 0);
    glide.show(5000);
    expect(glide.heading).toBeCloseTo(10);
  });

  it("measures distance on the sphere", () => {
    expect(distanceM({ lat: 47, lon: 10 }, { lat: 48, lon: 10 })).toBeCloseTo(111_195, 0);
  });
});

describe("a trail", () => {
  const walked = (trail: Trail) => {
    const steps: boolean[] = [];
    trail.walk((_x, _y, startsAnew) => steps.push(startsAnew));
    return steps;
  };

  it("takes what was before it in front", () => {
    const trail = new Trail();
    trail.add({ ts: 60_000, lat: 47.006, lon: 10 });
    trail.precede([0, 10, 20, 60, 70].map((second) => ({ ts: second * 1000, lat: 47 + second / 10_000, lon: 10 })));
    trail.add({ ts: 70_000, lat: 47.007, lon: 10 });
    const lats: number[] = [];
    trail.walk((_x, y) => lats.push(y));
    expect(lats).toEqual([...lats].sort((a, b) => b - a));
    expect(lats).toHaveLength(5);
  });

  it("keeps ten minutes, leaves out standing still and breaks at a gap", () => {
    const trail = new Trail();
    for (let second = 0; second <= 900; second += 10) trail.add({ ts: second * 1000, lat: 47 + second / 10_000, lon: 10 });
    expect(trail.length).toBe(60);
    trail.add({ ts: 905_000, lat: 47.09, lon: 10 });
    expect(trail.length).toBe(60);
    trail.add({ ts: 1_100_000, lat: 47.12, lon: 10 });
    expect(walked(trail).map((startsAnew, at) => (startsAnew ? at : -1)).filter((at) => at >= 0)).toEqual([0, trail.length - 1]);
  });
});
