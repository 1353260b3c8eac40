import { describe, expect, it } from "vitest";
import { agedMs, fitted, minutesTo, phaseOf, scaleBar, type Told } from "./model";
import { LANGUAGES } from "./words";

const MINUTE = 60_000;
const NOW = Date.UTC(2026, 8, 14, 8);

const told = (more: Partial<Told> = {}): Told => ({
  state: "coming",
  name: "Farm 1",
  timezone: "Europe/Berlin",
  at: { lat: 47.9, lon: 10.2 },
  plannedAt: NOW,
  expected: expected(20),
  before: 2,
  truck: { lat: 47.95, lon: 10.1, ts: NOW - 5000, heading: 90 },
  expiresAt: NOW + 600 * MINUTE,
  ...more,
});

const expected = (minutes: number, fixAt = NOW - 5000) => ({
  eta: NOW + minutes * MINUTE,
  p10: NOW + (minutes - 3) * MINUTE,
  p90: NOW + (minutes + 6) * MINUTE,
  fixAt,
  method: "history",
});

describe("what a tracking page is about", () => {
  it("is what the link says, and near within five minutes", () => {
    expect(phaseOf(told(), NOW)).toBe("coming");
    expect(phaseOf(told({ expected: expected(4) }), NOW)).toBe("near");
    expect(phaseOf(told({ expected: null }), NOW)).toBe("coming");
    expect(phaseOf(told({ state: "here" }), NOW)).toBe("here");
    expect(phaseOf(told({ state: "waiting", expected: null }), NOW)).toBe("waiting");
    expect(phaseOf(told({ state: "over" }), NOW)).toBe("over");
  });

  it("says when the truck has not been heard of, and only while it is on its way", () => {
    expect(agedMs(told(), NOW)).toBeNull();
    expect(agedMs(told({ expected: expected(20, NOW - 3 * MINUTE) }), NOW)).toBe(3 * MINUTE);
    expect(agedMs(told({ expected: expected(20, NOW - 3 * MINUTE), state: "here" }), NOW)).toBeNull();
  });

  it("counts no minutes below none", () => {
    expect(minutesTo(NOW + 7.6 * MINUTE, NOW)).toBe(8);
    expect(minutesTo(NOW - MINUTE, NOW)).toBe(0);
  });
});

describe("the small map", () => {
  it("holds both places within its margin, north up", () => {
    const { here, truck } = fitted({ lat: 47.9, lon: 10.2 }, { lat: 47.95, lon: 10.1 }, 400, 200, 30);
    expect(truck[0]).toBeLessThan(here[0]);
    expect(truck[1]).toBeLessThan(here[1]);
    for (const [x, y] of [here, truck]) {
      expect(x).toBeGreaterThanOrEqual(29.9);
      expect(x).toBeLessThanOrEqual(370.1);
      expect(y).toBeGreaterThanOrEqual(29.9);
      expect(y).toBeLessThanOrEqual(170.1);
    }
  });

  it("does not zoom into nothing when the truck is at the gate", () => {
    const { here, truck, metresPerPx } = fitted({ lat: 47.9, lon: 10.2 }, { lat: 47.9, lon: 10.2 }, 400, 200, 30);
    expect(here).toEqual(truck);
    expect(metresPerPx * 140).toBeCloseTo(500);
  });

  it("has a round scale", () => {
    expect(scaleBar(10, 300)).toEqual({ metres: 1000, px: 100 });
    expect(scaleBar(1, 300)).toEqual({ metres: 100, px: 100 });
  });
});

describe("its words", () => {
  it("are there for every phase in both languages", () => {
    for (const words of Object.values(LANGUAGES)) {
      for (const phase of ["waiting", "coming", "near", "here", "over"] as const) expect(words.phases[phase]).not.toBe("");
    }
  });
});
