import { describe, expect, it } from "vitest";
import { segments, sumOf, type Span } from "./day";

const HOUR = 3_600_000;
const day = { from: 0, to: 24 * HOUR };
const online = (from: number, to: number | null): Span => ({ online: true, from: from * HOUR, to: to === null ? null : to * HOUR, reason: null });
const offline = (from: number, to: number | null): Span => ({ online: false, from: from * HOUR, to: to === null ? null : to * HOUR, reason: "CONNECTION_LOST" });
const drawn = (spans: Span[], now: number) => segments(spans, day, now * HOUR).map((each) => [each.kind, each.from / HOUR, each.to / HOUR]);

describe("a day of presence", () => {
  it("begins with what is not known and ends now", () => {
    expect(drawn([online(6, 12), offline(12, 13), online(13, null)], 15)).toEqual([
      ["unknown", 0, 6],
      ["online", 6, 12],
      ["offline", 12, 13],
      ["online", 13, 15],
    ]);
  });

  it("cuts what began the day before and goes on the day after", () => {
    expect(drawn([offline(-3, 2), online(2, 30)], 40)).toEqual([
      ["offline", 0, 2],
      ["online", 2, 24],
    ]);
  });

  it("is unknown as a whole where nothing was recorded, and empty before it came", () => {
    expect(drawn([], 10)).toEqual([["unknown", 0, 10]]);
    expect(drawn([], -1)).toEqual([]);
    expect(drawn([online(30, null)], 40)).toEqual([["unknown", 0, 24]]);
  });

  it("shows a connection that ended at once", () => {
    expect(drawn([offline(0, 3), online(3, 3), offline(3, 5)], 5)).toEqual([
      ["offline", 0, 3],
      ["online", 3, 3],
      ["offline", 3, 5],
    ]);
    expect(drawn([online(-2, -2), offline(-2, 5)], 5)).toEqual([["offline", 0, 5]]);
  });

  it("fills its bar to the present", () => {
    const found = segments([online(0, 12), offline(12, null)], day, 24 * HOUR);
    expect(found.reduce((sum, each) => sum + each.share, 0)).toBeCloseTo(1);
    expect(found[1]?.start).toBeCloseTo(0.5);
  });

  it("sums what was online and counts losses within it alone", () => {
    const sum = sumOf(segments([offline(-3, 2), online(2, 6), offline(6, 7), online(7, null)], day, 10 * HOUR));
    expect(sum).toEqual({ onlineMs: 7 * HOUR, offlineMs: 3 * HOUR, losses: 1 });
  });
});
