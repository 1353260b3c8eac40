import type { Map as MapLibre } from "maplibre-gl";
import type { Moment, Step } from "../device/track";
import { mercator } from "../fleet/motion";
import { drawSprites, readInks } from "./sprites";

const TILE_PX = 512;
const MOVING_FROM_MPS = 1;

/** A day's track on a canvas over the map: what was driven until now strong, the rest faint, the vehicle on top. */
export class TrackOverlay {
  private steps: readonly Step[] = [];
  private at = 0;
  private moment: Moment | null = null;
  private inks = readInks();
  private ratio = Math.min(2, window.devicePixelRatio);
  private sprites = drawSprites(this.inks, this.ratio);
  private readonly map: MapLibre;
  private readonly pen: CanvasRenderingContext2D;

  constructor(map: MapLibre, canvas: HTMLCanvasElement) {
    this.map = map;
    const pen = canvas.getContext("2d");
    if (pen === null) throw new Error("this browser has no canvas");
    this.pen = pen;
  }

  show(steps: readonly Step[], at: number, moment: Moment | null): void {
    this.steps = steps;
    this.at = at;
    this.moment = moment;
    this.draw();
  }

  restyle(): void {
    this.inks = readInks();
    this.ratio = Math.min(2, window.devicePixelRatio);
    this.sprites = drawSprites(this.inks, this.ratio);
    this.draw();
  }

  draw(): void {
    const { pen, ratio } = this;
    const { width, height } = pen.canvas.getBoundingClientRect();
    pen.canvas.width = Math.round(width * ratio);
    pen.canvas.height = Math.round(height * ratio);
    const scale = TILE_PX * 2 ** this.map.getZoom();
    const corner = this.map.project([0, 0]);
    const place = ({ x, y }: { x: number; y: number }): [number, number] => [
      x * scale + corner.x - scale / 2,
      y * scale + corner.y - scale / 2,
    ];
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.lineJoin = pen.lineCap = "round";
    const here = this.moment === null ? null : place(mercator(this.moment.lat, this.moment.lon));
    this.stroke(place, (step) => step.ts >= this.at, this.inks.motions.offline, 2.5);
    this.stroke(place, (step) => step.ts <= this.at, this.inks.accent, 4, this.moment?.isKnown === true ? here : null);
    if (this.moment === null || here === null) return;
    const isMoving = this.moment.isKnown && (this.moment.speed ?? 0) >= MOVING_FROM_MPS;
    const sprite = this.sprites[this.moment.isKnown ? (isMoving ? "moving" : "idle") : "stale"];
    const turn = isMoving ? ((this.moment.heading ?? 0) * Math.PI) / 180 : 0;
    const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
    pen.setTransform(cos, sin, -sin, cos, here[0] * ratio, here[1] * ratio);
    pen.drawImage(sprite, -sprite.width / 2, -sprite.height / 2);
  }

  private stroke(
    place: (step: Step) => [number, number],
    isPart: (step: Step) => boolean,
    color: string,
    width: number,
    end: [number, number] | null = null,
  ): void {
    const { pen } = this;
    pen.beginPath();
    let isPenDown = false;
    for (const step of this.steps) {
      if (!isPart(step)) continue;
      const [x, y] = place(step);
      if (step.startsAnew || !isPenDown) pen.moveTo(x, y);
      else pen.lineTo(x, y);
      isPenDown = true;
    }
    if (end !== null && isPenDown) pen.lineTo(end[0], end[1]);
    pen.strokeStyle = this.inks.outline;
    pen.lineWidth = width + 3;
    pen.globalAlpha = 0.8;
    pen.stroke();
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.globalAlpha = 1;
    pen.stroke();
  }
}
