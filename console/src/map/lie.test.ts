import { describe, expect, it } from "vitest";
import { carried, type Lie } from "./lie";

/** Where a transform of `carried` takes a point of the screen. */
function taken(transform: string, x: number, y: number): [number, number] {
  const [left = 0, top = 0, grown = 0] = [...transform.matchAll(/-?[\d.]+(?:e-?\d+)?/g)].map(Number);
  return [x * grown + left, y * grown + top];
}

const at = (lie: Lie, x: number, y: number): [number, number] => [x * lie.scale + lie.left, y * lie.scale + lie.top];

describe("what was drawn, carried along with the map", () => {
  const drawn: Lie = { scale: 524_288, left: -276_500.25, top: -182_000.5 };

  it.each([
    ["dragged", { ...drawn, left: drawn.left + 137.5, top: drawn.top - 61 }],
    ["zoomed and dragged", { scale: drawn.scale * 1.07, left: -295_700, top: -194_600 }],
  ])("lies where it would be drawn anew when the map is %s", (_, now) => {
    const place: [number, number] = [0.5284, 0.3489];
    const [x, y] = taken(carried(drawn, now), ...at(drawn, ...place));
    expect(x).toBeCloseTo(at(now, ...place)[0], 3);
    expect(y).toBeCloseTo(at(now, ...place)[1], 3);
  });
});
