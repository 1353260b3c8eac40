import { describe, expect, it } from "vitest";
import type { TrackFix } from "../api/history";
import { dayName, dayOf, hoursOf, momentAt, stepsOf, summary } from "./track";

const fix = (second: number, lat: number, more: Partial<TrackFix> = {}): TrackFix => ({
  ts: second * 1000,
  lat,
  lon: 10,
  speed: 10,
  heading: 350,
  ...more,
});

describe("a moment of a track", () => {
  const fixes = [fix(0, 47), fix(10, 47.001, { speed: 20, heading: 10 }), fix(1000, 48)];

  it("lies between its fixes, and turns the short way round", () => {
    expect(momentAt(fixes, 5000)).toMatchObject({ lon: 10, speed: 15, heading: 0, isKnown: true });
    expect(momentAt(fixes, 5000)?.lat).toBeCloseTo(47.0005);
  });

  it("stays at the last fix during a gap and says that it is not known", () => {
    expect(momentAt(fixes, 500_000)).toMatchObject({ lat: 47.001, isKnown: false });
    expect(momentAt(fixes, 10_000)).toMatchObject({ lat: 47.001, isKnown: true });
  });

  it("is the nearest end outside of the track, and nothing without fixes", () => {
    expect(momentAt(fixes, -1)).toMatchObject({ lat: 47, isKnown: false });
    expect(momentAt(fixes, 2_000_000)).toMatchObject({ lat: 48, isKnown: false });
    expect(momentAt([], 0)).toBeNull();
  });
});

describe("the summary of a track", () => {
  it("counts way and time between fixes, and nothing over a gap", () => {
    const sum = summary([fix(0, 47), fix(100, 47.01), fix(160, 47.01, { speed: 0 }), fix(4000, 48, { speed: 25 })]);
    expect(sum.distanceM).toBeCloseTo(1112, 0);
    expect(sum).toMatchObject({ drivingMs: 100_000, standingMs: 60_000, topMps: 25 });
    expect(summary([])).toEqual({ distanceM: 0, drivingMs: 0, standingMs: 0, topMps: null });
  });

  it("breaks the line at a gap", () => {
    expect(stepsOf([fix(0, 47), fix(10, 47.1), fix(1000, 48)]).map((step) => step.startsAnew)).toEqual([true, false, true]);
  });
});

describe("the hours of a track", () => {
  const day = { from: 0, to: 24 * 3_600_000 };

  it("are whole, hold every fix and end with the day", () => {
    expect(hoursOf([fix(3700, 47), fix(7100, 47)], day)).toEqual({ from: 3_600_000, to: 7_200_000 });
    expect(hoursOf([fix(3700, 47), fix(7200, 47)], day)).toEqual({ from: 3_600_000, to: 10_800_000 });
    expect(hoursOf([fix(0, 47), fix(86_399, 47)], day)).toEqual(day);
    expect(hoursOf([], day)).toEqual(day);
  });
});

describe("a day", () => {
  it("goes from midnight to midnight where the reader is", () => {
    const { from, to } = dayOf("2026-11-21");
    expect(new Date(from).getHours()).toBe(0);
    expect(dayName(from)).toBe("2026-11-21");
    expect(dayName(to - 1)).toBe("2026-11-21");
    expect(dayName(to)).toBe("2026-11-22");
    expect(dayName(from, -1)).toBe("2026-11-20");
  });
});
