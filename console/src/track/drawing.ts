import { fitted, scaleBar, type Place } from "./model";
import type { Words } from "./words";

const MARGIN_PX = 44;
const FONT = "600 13px system-ui, sans-serif";

/** Where the truck is from here: both places, the straight way between them and a scale. No map is fetched for it. */
export function drawWay(canvas: HTMLCanvasElement, here: Place, truck: Place & { heading: number | null }, words: Words, length: (metres: number) => string): void {
  const pen = canvas.getContext("2d");
  if (pen === null) return;
  const ratio = Math.min(2, window.devicePixelRatio);
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const css = getComputedStyle(document.documentElement);
  const ink = (name: string) => css.getPropertyValue(name).trim();
  const at = fitted(here, truck, width, height, MARGIN_PX);
  pen.lineCap = "round";
  rings(pen, at.here, ink("--line"), Math.hypot(width, height));
  pen.strokeStyle = ink("--accent");
  pen.lineWidth = 2.5;
  pen.setLineDash([1, 8]);
  pen.beginPath();
  pen.moveTo(...at.truck);
  pen.lineTo(...at.here);
  pen.stroke();
  pen.setLineDash([]);
  pen.fillStyle = ink("--card");
  pen.strokeStyle = ink("--text");
  pen.lineWidth = 4;
  circle(pen, at.here, 9);
  pen.fill();
  pen.stroke();
  name(pen, words.you, at.here, ink("--text"), ink("--ground"));
  arrow(pen, at.truck, truck.heading, ink("--accent"), ink("--card"));
  name(pen, words.truck, at.truck, ink("--text"), ink("--ground"));
  const bar = scaleBar(at.metresPerPx, width);
  pen.strokeStyle = ink("--muted");
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(14, height - 14);
  pen.lineTo(14 + bar.px, height - 14);
  pen.stroke();
  pen.fillStyle = ink("--muted");
  pen.textAlign = "left";
  pen.fillText(length(bar.metres), 14, height - 24);
}

function rings(pen: CanvasRenderingContext2D, [x, y]: [number, number], color: string, most: number): void {
  pen.strokeStyle = color;
  pen.lineWidth = 1;
  for (let radius = 60; radius < most; radius += 60) {
    circle(pen, [x, y], radius);
    pen.stroke();
  }
}

function circle(pen: CanvasRenderingContext2D, [x, y]: [number, number], radius: number): void {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
}

/** An arrow the way the truck drives; a disc where that is not known. */
function arrow(pen: CanvasRenderingContext2D, [x, y]: [number, number], heading: number | null, color: string, edge: string): void {
  pen.save();
  pen.translate(x, y);
  pen.fillStyle = color;
  pen.strokeStyle = edge;
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  if (heading === null) circle(pen, [0, 0], 9);
  else {
    pen.rotate((heading * Math.PI) / 180);
    pen.beginPath();
    pen.moveTo(0, -14);
    pen.lineTo(10, 11);
    pen.lineTo(0, 6);
    pen.lineTo(-10, 11);
    pen.closePath();
  }
  pen.stroke();
  pen.fill();
  pen.restore();
}

function name(pen: CanvasRenderingContext2D, text: string, [x, y]: [number, number], color: string, halo: string): void {
  pen.font = FONT;
  pen.textAlign = "center";
  pen.lineWidth = 4;
  pen.strokeStyle = halo;
  pen.strokeText(text, x, y + 28);
  pen.fillStyle = color;
  pen.fillText(text, x, y + 28);
}
