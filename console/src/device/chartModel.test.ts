import { describe, expect, it } from "vitest";
import type { Sample } from "../api/history";
import { linePath, nearest, scaleOf, stretches, xOf, yOf } from "./chartModel";
import { unitOf } from "./unit";

const sample = (ts: number, value: number, low = value, high = value): Sample => ({ ts, value, low, high, count: 1 });

describe("the unit of a signal", () => {
  it("is what its name ends with, where that is one", () => {
    expect(["milk_temp_c", "fuel_pct", "milk_l", "engine_speed_rpm"].map(unitOf)).toEqual(["°C", "%", "l", "rpm"]);
    expect(["ignition", "c", "door_open", "milk_c_state", "constructor_constructor"].map(unitOf)).toEqual(["", "", "", "", ""]);
  });
});

describe("a chart", () => {
  it("has round numbers around all of its values", () => {
    expect(scaleOf([sample(0, 10, 3, 37)])).toEqual({ low: 0, high: 40, ticks: [0, 20, 40] });
    expect(scaleOf([sample(0, 4.1), sample(1, 4.3)]).ticks).toEqual([4.1, 4.2, 4.3]);
    expect(scaleOf([sample(0, -5), sample(1, 5)])).toMatchObject({ low: -5, high: 5 });
  });

  it("has room around a value that never changes", () => {
    const { low, high } = scaleOf([sample(0, 60)]);
    expect(low).toBeLessThan(60);
    expect(high).toBeGreaterThan(60);
    expect(scaleOf([sample(0, 0)]).ticks).toContain(0);
  });

  it("puts time from left to right and values from bottom to top", () => {
    const frame = { width: 100, height: 50, from: 0, to: 10, low: 0, high: 5 };
    expect([xOf(frame, 0), xOf(frame, 10), yOf(frame, 0), yOf(frame, 5)]).toEqual([0, 100, 50, 0]);
    expect(linePath(frame, [[sample(0, 0), sample(10, 5)], [sample(5, 5)]])).toBe("M0.0 50.0L100.0 0.0M50.0 0.0L50.0 0.0");
  });

  it("breaks its line where values are missing", () => {
    const samples = [0, 60, 120, 600, 660].map((second) => sample(second * 1000, 1));
    expect(stretches(samples, 60_000).map((part) => part.length)).toEqual([3, 2]);
    expect(stretches(samples, 3_600_000)).toHaveLength(1);
    expect(stretches([], 60_000)).toEqual([]);
  });

  it("finds the value nearest to an instant", () => {
    expect(nearest([sample(0, 1), sample(10, 1), sample(20, 1)], 14)).toBe(1);
  });
});
