import { MOTIONS } from "../fleet/model";
import type { Cluster } from "./cluster";
import type { Inks } from "./sprites";

export const CLUSTER_PX = 20;
const NAME_FONT = "600 11px system-ui, sans-serif";
const FULL = 2 * Math.PI;

type Pen = CanvasRenderingContext2D;

/** The ring around the selected vehicle. */
export function paintRing(pen: Pen, x: number, y: number, ratio: number, inks: Inks): void {
  pen.setTransform(ratio, 0, 0, ratio, x * ratio, y * ratio);
  pen.beginPath();
  pen.arc(0, 0, 16, 0, FULL);
  pen.globalAlpha = 0.18;
  pen.fillStyle = inks.accent;
  pen.fill();
  pen.globalAlpha = 1;
  pen.lineWidth = 2;
  pen.strokeStyle = inks.accent;
  pen.stroke();
}

/** How many are here, with a ring that shows the share of each state. */
export function paintCluster(pen: Pen, group: Cluster, x: number, y: number, ratio: number, inks: Inks): void {
  pen.setTransform(ratio, 0, 0, ratio, x * ratio, y * ratio);
  pen.beginPath();
  pen.arc(0, 0, CLUSTER_PX, 0, FULL);
  pen.fillStyle = inks.surface;
  pen.fill();
  pen.lineWidth = 4;
  let from = -Math.PI / 2;
  for (const motion of MOTIONS) {
    const share = group.motions[motion] / group.count;
    if (share === 0) continue;
    pen.beginPath();
    pen.arc(0, 0, CLUSTER_PX - 2, from, from + share * FULL);
    pen.strokeStyle = inks.motions[motion];
    pen.stroke();
    from += share * FULL;
  }
  pen.fillStyle = inks.text;
  pen.font = "600 12px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(String(group.count), 0, 0.5);
}

/** A vehicle's name under its marker; drawn once, then copied. */
export function paintName(pen: Pen, drawn: Map<string, HTMLCanvasElement>, name: string, x: number, y: number, ratio: number, inks: Inks): void {
  let picture = drawn.get(name);
  if (picture === undefined) {
    picture = nameplate(name, ratio, inks);
    drawn.set(name, picture);
  }
  pen.setTransform(1, 0, 0, 1, Math.round(x * ratio - picture.width / 2), Math.round((y + 15) * ratio));
  pen.drawImage(picture, 0, 0);
}

function nameplate(name: string, ratio: number, inks: Inks): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  if (pen === null) throw new Error("this browser has no canvas");
  pen.font = NAME_FONT;
  const width = Math.ceil(pen.measureText(name).width) + 10;
  canvas.width = width * ratio;
  canvas.height = 17 * ratio;
  pen.scale(ratio, ratio);
  pen.font = NAME_FONT;
  pen.fillStyle = inks.surface;
  pen.globalAlpha = 0.88;
  pen.beginPath();
  pen.roundRect(0, 0, width, 17, 4);
  pen.fill();
  pen.globalAlpha = 1;
  pen.fillStyle = inks.text;
  pen.textBaseline = "middle";
  pen.fillText(name, 5, 9);
  return canvas;
}
