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
    run(pace, 90, 20, 1000);
    expect(pace.isSlow).toBe(true);
  });

  it("stays slow while it is only as fast as it was made by drawing less, and is not when it is much faster", () => {
    const pace = new Pace();
    let at = run(pace, 90, 20);
    at = run(pace, 25, 20, at);
    expect(pace.isSlow).toBe(true);
    run(pace, 8, 20, at);
    expect(pace.isSlow).toBe(false);
  });

  it("counts no pause of the hand", () => {
    const pace = new Pace();
    let at = 0;
    for (let drag = 0; drag < 10; drag += 1) {
      at = run(pace, 16, 4, at) + 2000;
      pace.rest();
    }
    expect(pace.isSlow).toBe(false);
  });
});
