import { describe, expect, it } from "vitest";
import { Pace } from "./pace";

function run(pace: Pace, everyMs: number, frames: number, from = 0): number {
  let at = from;
  for (let frame = 0; frame < frames; frame += 1) pace.frame((at += everyMs));
  return at;
}

describe("the pace of a moving map", () => {
  it("is slow when frames keep taking long, not for one of them", () => {
    const pace = new Pace();
    run(pace, 16, 20);
    expect(pace.isSlow).toBe(false);
    pace.frame(16 * 20 + 120);
    expect(pace.isSlow).toBe(false);
    run(pace, 90, 6, 16 * 20 + 120);
    expect(pace.isSlow).toBe(true);
  });

  it("draws the ground less often for as long as that is not enough", () => {
    const pace = new Pace();
    let at = run(pace, 90, 6);
    const first = pace.carriedMs;
    at = run(pace, 25, 40, at);
    expect(pace).toMatchObject({ isSlow: true, carriedMs: first });
    at = run(pace, 50, 20, at);
    const then = pace.carriedMs;
    expect(then).toBeGreaterThan(first);
    run(pace, 50, 200, at);
    expect(pace.carriedMs).toBeLessThan(500);
  });

  it("stays slow while it is only as fast as it was made by drawing less, and tries again after a minute", () => {
    const pace = new Pace();
    const at = run(pace, 90, 6);
    run(pace, 8, 200, at);
    pace.rest(at + 2000);
    expect(pace.isSlow).toBe(true);
    pace.rest(at + 70_000);
    expect(pace).toMatchObject({ isSlow: false, carriedMs: new Pace().carriedMs });
  });

  it("counts no time in which nobody looked, nor the frames of a map that stands", () => {
    const pace = new Pace();
    const at = run(pace, 5000, 10);
    for (let frame = 1; frame <= 50; frame += 1) pace.rest(at + frame * 100);
    expect(pace.isSlow).toBe(false);
  });
});
