import type { Map as MapLibre } from "maplibre-gl";
import type { Motion } from "../fleet/model";
import { mercator } from "../fleet/motion";
import { lieOf } from "./lie";
import { drawSprites, readInks, type Inks } from "./sprites";

const EQUATOR_M = 40_075_017;
const PIN_FONT = "700 11px system-ui, sans-serif";

/** Degrees. */
export interface Place {
  lat: number;
  lon: number;
}

/** A cleared canvas over the map, in CSS pixels, and where things lie on it. */
export interface Paper {
  pen: CanvasRenderingContext2D;
  inks: Inks;
  /** Degrees to pixels. */
  place: (lat: number, lon: number) => [x: number, y: number];
  /** Map units 0 to 1 to pixels: where a glide is. */
  at: (point: { x: number; y: number }) => [x: number, y: number];
  /** Pixels of so many metres at a latitude. */
  length: (metres: number, lat: number) => number;
  truck: (x: number, y: number, motion: Motion, heading: number) => void;
}

/** Makes the paper for each drawing; `isRestyled`: take colours and resolution anew. */
export function paperOn(canvas: HTMLCanvasElement, map: MapLibre): (isRestyled: boolean) => Paper {
  const pen = canvas.getContext("2d");
  if (pen === null) throw new Error("this browser has no canvas");
  let ratio = 0;
  let inks = readInks();
  let sprites = drawSprites(inks, 1);
  return (isRestyled) => {
    if (isRestyled || ratio === 0) {
      ratio = Math.min(2, window.devicePixelRatio);
      inks = readInks();
      sprites = drawSprites(inks, ratio);
    }
    const { width, height } = canvas.getBoundingClientRect();
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w) canvas.width = w;
    if (canvas.height !== h) canvas.height = h;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, w, h);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.lineJoin = pen.lineCap = "round";
    const { scale, left, top } = lieOf(map);
    const at = ({ x, y }: { x: number; y: number }): [number, number] => [x * scale + left, y * scale + top];
    return {
      pen,
      inks,
      at,
      place: (lat, lon) => at(mercator(lat, lon)),
      length: (metres, lat) => (metres * scale) / (EQUATOR_M * Math.cos((lat * Math.PI) / 180)),
      truck: (x, y, motion, heading) => {
        const sprite = sprites[motion];
        const turn = motion === "moving" ? (heading * Math.PI) / 180 : 0;
        const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
        pen.save();
        pen.setTransform(cos, sin, -sin, cos, x * ratio, y * ratio);
        pen.drawImage(sprite, -sprite.width / 2, -sprite.height / 2);
        pen.restore();
      },
    };
  };
}

/** Strokes the path on the paper, with an edge that keeps it readable on any ground. */
export function edged({ pen, inks }: Paper, color: string, width: number): void {
  pen.globalAlpha = 0.8;
  pen.strokeStyle = inks.outline;
  pen.lineWidth = width + 3;
  pen.stroke();
  pen.globalAlpha = 1;
  pen.strokeStyle = color;
  pen.lineWidth = width;
  pen.stroke();
}

/** A line through places. */
export function strokeLine(paper: Paper, line: readonly Place[], color: string, width: number): void {
  if (line.length < 2) return;
  const { pen, place } = paper;
  pen.beginPath();
  line.forEach(({ lat, lon }, index) => {
    const [x, y] = place(lat, lon);
    if (index === 0) pen.moveTo(x, y);
    else pen.lineTo(x, y);
  });
  edged(paper, color, width);
}

/** The area of a site: its corners, else a circle around its middle. */
export function fillArea(paper: Paper, site: { lat: number; lon: number; radiusM: number; polygon?: readonly Place[] }, color: string): void {
  const { pen, place, length } = paper;
  pen.beginPath();
  if (site.polygon !== undefined && site.polygon.length > 2) {
    for (const { lat, lon } of site.polygon) pen.lineTo(...place(lat, lon));
    pen.closePath();
  } else {
    pen.arc(...place(site.lat, site.lon), Math.max(4, length(site.radiusM, site.lat)), 0, 2 * Math.PI);
  }
  pen.fillStyle = color;
  pen.globalAlpha = 0.18;
  pen.fill();
  pen.globalAlpha = 0.9;
  pen.strokeStyle = color;
  pen.lineWidth = 1.5;
  pen.stroke();
  pen.globalAlpha = 1;
}

/** A round sign with a number or letter in it; hollow: what is not done yet. */
export function pin({ pen, inks }: Paper, x: number, y: number, text: string, color: string, isHollow: boolean): void {
  pen.beginPath();
  pen.arc(x, y, 10, 0, 2 * Math.PI);
  pen.fillStyle = isHollow ? inks.surface : color;
  pen.fill();
  pen.strokeStyle = isHollow ? color : inks.outline;
  pen.lineWidth = isHollow ? 2.4 : 1.5;
  pen.stroke();
  pen.fillStyle = isHollow ? inks.text : inks.surface;
  pen.font = PIN_FONT;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(text, x, y + 0.5);
}
