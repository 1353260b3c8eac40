import type { Motion } from "../fleet/model";

export interface Inks {
  motions: Record<Motion, string>;
  outline: string;
  surface: string;
  text: string;
  accent: string;
}

/** The colours of the page's style sheet, so that map and list always agree. */
export function readInks(): Inks {
  const css = getComputedStyle(document.documentElement);
  const ink = (name: string) => css.getPropertyValue(name).trim();
  return {
    motions: { moving: ink("--moving"), idle: ink("--idle"), stale: ink("--stale"), offline: ink("--offline") },
    outline: ink("--marker-outline"),
    surface: ink("--surface"),
    text: ink("--text"),
    accent: ink("--accent"),
  };
}

/** Edge of a marker's picture in CSS pixels; the marker sits in its middle. */
export const SPRITE_PX = 26;

/** One picture for each state, drawn once: a frame only copies them. Arrows point north. */
export function drawSprites(inks: Inks, ratio: number): Record<Motion, HTMLCanvasElement> {
  const make = (motion: Motion) => sprite(inks, motion, ratio);
  return { moving: make("moving"), idle: make("idle"), stale: make("stale"), offline: make("offline") };
}

function sprite(inks: Inks, motion: Motion, ratio: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.ceil(SPRITE_PX * ratio);
  const pen = canvas.getContext("2d");
  if (pen === null) throw new Error("this browser has no canvas");
  pen.scale(ratio, ratio);
  pen.translate(SPRITE_PX / 2, SPRITE_PX / 2);
  pen.lineJoin = pen.lineCap = "round";
  const color = inks.motions[motion];
  const outlined = (path: Path2D, isHollow: boolean) => {
    pen.strokeStyle = inks.outline;
    pen.lineWidth = isHollow ? 5.4 : 3.4;
    pen.stroke(path);
    pen.fillStyle = color;
    pen.strokeStyle = color;
    pen.lineWidth = 2.6;
    if (isHollow) pen.stroke(path);
    else pen.fill(path);
  };
  outlined(SHAPES[motion], motion === "stale" || motion === "offline");
  return canvas;
}

const disc = (radius: number) => {
  const path = new Path2D();
  path.arc(0, 0, radius, 0, 2 * Math.PI);
  return path;
};

const SHAPES: Record<Motion, Path2D> = {
  moving: new Path2D("M0 -10L7 8L0 4.5L-7 8Z"),
  idle: disc(5.5),
  stale: disc(5),
  offline: new Path2D("M-4 -4L4 4M4 -4L-4 4"),
};
