import { describe, expect, it } from "vitest";
import { clusters, type Spot } from "./cluster";

const spot = (name: string, x: number, y: number): Spot => ({ name, x, y, motion: "moving" });

describe("clusters", () => {
  const near = [spot("a", 0.5, 0.5), spot("b", 0.5001, 0.5001), spot("c", 0.5002, 0.5)];

  it("groups three or more neighbours around their middle, and counts their states", () => {
    const { groups, alone } = clusters([...near, spot("far", 0.9, 0.9)], 5);
    expect(alone.map((one) => one.name)).toEqual(["far"]);
    expect(groups).toHaveLength(1);
    expect(groups[0]).toMatchObject({ count: 3, motions: { moving: 3, idle: 0, stale: 0, offline: 0 } });
    expect(groups[0]?.x).toBeCloseTo(0.5001);
    expect(groups[0]?.bounds).toEqual([0.5, 0.5, 0.5002, 0.5001]);
  });

  it("leaves pairs alone", () => {
    expect(clusters(near.slice(0, 2), 5)).toMatchObject({ groups: [], alone: [{ name: "a" }, { name: "b" }] });
  });

  it("takes groups apart when zoomed in", () => {
    expect(clusters(near, 16).groups).toEqual([]);
  });

  it("is the same within one whole zoom level", () => {
    expect(clusters(near, 5.9)).toEqual(clusters(near, 5));
  });
});
