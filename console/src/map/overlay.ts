import type { Map as MapLibre } from "maplibre-gl";
import type { FleetStore } from "../fleet/store";
import { MOTIONS, motionOf, type Motion } from "../fleet/model";
import { serverNow } from "../live/clock";
import { clusters, type Cluster, type Spot } from "./cluster";
import { carry, letGo, lieOf, type Lie } from "./lie";
import type { Pace } from "./pace";
import { CLUSTER_PX, paintCluster, paintName, paintRing } from "./paint";
import { drawSprites, readInks, SPRITE_PX, type Inks } from "./sprites";

/** Zoomed out further than this, neighbours are drawn as one sign. */
const CLUSTER_BELOW_ZOOM = 9.5;
const REGROUP_EVERY_MS = 500;
const TRAILS_EVERY_MS = 1000;
const MOST_NAMES = 120;
/** While the map is dragged trails are drawn in each frame; more of them than this come back when it rests. */
const MOST_TRAILS_ON_THE_MOVE = 150;
const NAMES_FROM_ZOOM = 11;
const TOUCH_PX = 18;
const SHORTEST_STEP_PX = 2;
/** Markers are drawn anew when one has moved by more than this: less, nobody sees. */
const LEAST_STEP_PX = 0.25;

export interface View {
  /** The vehicles that pass the filter; null = all. */
  visible: ReadonlySet<string> | null;
  selected: string | null;
  hasTrails: boolean;
  hasNames: boolean;
}

export type Hit = { kind: "vehicle"; name: string } | { kind: "cluster"; cluster: Cluster };

interface Screen extends Lie {
  width: number;
  height: number;
}

/**
 * The vehicles on two canvases over the map: markers drawn from the fleet's glides in each frame in which one is seen to
 * move, trails once a second. The map itself is only drawn anew when it is moved; so five hundred moving trucks cost a few
 * copies of small pictures.
 */
export class FleetOverlay {
  view: View = { visible: null, selected: null, hasTrails: true, hasNames: false };
  private inks: Inks;
  private sprites: Record<Motion, HTMLCanvasElement>;
  private ratio = 1;
  /** Of the map pane, in CSS pixels: asking the page for it in each frame would lay it out in each frame. */
  private size = { width: 0, height: 0 };
  private groups: Cluster[] = [];
  private spots: Spot[] = [];
  private groupedAt = Number.NEGATIVE_INFINITY;
  private groupedFor = "";
  private trailsAt = Number.NEGATIVE_INFINITY;
  private trailsFor = "";
  private wasMoving = false;
  private drawnFor = "";
  private drawnAt = Number.NEGATIVE_INFINITY;
  /** How the screen lay when the markers were drawn. */
  private drawnOn: Screen | null = null;
  private readonly names = new Map<string, HTMLCanvasElement>();
  private readonly map: MapLibre;
  private readonly fleet: FleetStore;
  private readonly markers: CanvasRenderingContext2D;
  private readonly trails: CanvasRenderingContext2D;
  private readonly isStill: () => boolean;

  /** `isStill`: the reader wants no motion, so markers are shown where they are, not gliding there. */
  constructor(map: MapLibre, fleet: FleetStore, layers: { markers: HTMLCanvasElement; trails: HTMLCanvasElement }, isStill: () => boolean) {
    this.map = map;
    this.fleet = fleet;
    this.markers = context(layers.markers);
    this.trails = context(layers.trails);
    this.isStill = isStill;
    this.inks = readInks();
    this.sprites = drawSprites(this.inks, this.ratio);
  }

  /** Take the page's colours and the screen's resolution anew. */
  restyle(): void {
    this.inks = readInks();
    this.ratio = Math.min(2, window.devicePixelRatio);
    this.sprites = drawSprites(this.inks, this.ratio);
    this.names.clear();
    this.resize();
    this.changed();
  }

  /** Take the size of the map pane anew. */
  resize(): void {
    const { clientWidth: width, clientHeight: height } = this.markers.canvas;
    this.size = { width, height };
    for (const { canvas } of [this.markers, this.trails]) {
      const [w, h] = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
      if (canvas.width === w && canvas.height === h) continue;
      canvas.width = w;
      canvas.height = h;
      this.changed();
    }
  }

  /** Draw all of it in the next frame, even if nothing seems to have moved. */
  changed(): void {
    this.groupedAt = this.trailsAt = Number.NEGATIVE_INFINITY;
    this.drawnFor = "";
  }

  /** Draw what is due at `at` (the page's clock in ms). */
  frame(at: number, pace: Pace): void {
    const screen = this.screen();
    const layers = [this.markers.canvas, this.trails.canvas];
    const drawnOn = this.drawnOn;
    if (pace.isSlow && this.map.isMoving() && at - this.drawnAt < pace.carriedMs && drawnOn !== null) {
      for (const layer of layers) carry(layer, drawnOn, screen);
      return;
    }
    for (const layer of layers) letGo(layer);
    const camera = `${screen.scale} ${screen.left} ${screen.top} ${screen.width} ${screen.height}`;
    const isRegrouped = this.regroup(at);
    const isMoving = this.map.isMoving();
    if (this.trailsFor !== camera || this.wasMoving !== isMoving || at - this.trailsAt > TRAILS_EVERY_MS) {
      this.drawTrails(screen);
      this.trailsAt = at;
      this.trailsFor = camera;
      this.wasMoving = isMoving;
    }
    const hasMoved = this.glide(this.isStill() ? Number.POSITIVE_INFINITY : at, screen);
    if (hasMoved || isRegrouped || camera !== this.drawnFor) {
      this.drawMarkers(screen);
      this.drawnFor = camera;
    }
    this.drawnAt = at;
    this.drawnOn = screen;
  }

  /** What lies at a point of the map pane, in CSS pixels from its corner. */
  hit(x: number, y: number): Hit | null {
    const screen = this.screen();
    const away = (spot: { x: number; y: number }) =>
      Math.hypot(spot.x * screen.scale + screen.left - x, spot.y * screen.scale + screen.top - y);
    let nearest: Spot | null = null;
    let least = TOUCH_PX;
    for (const spot of this.spots) {
      const distance = away(spot);
      if (distance < least) [nearest, least] = [spot, distance];
    }
    if (nearest !== null) return { kind: "vehicle", name: nearest.name };
    const cluster = this.groups.find((group) => away(group) <= CLUSTER_PX);
    return cluster === undefined ? null : { kind: "cluster", cluster };
  }

  private screen(): Screen {
    return { ...this.size, ...lieOf(this.map) };
  }

  /** Say anew which vehicles stand where and which are drawn as one; true when that was due. */
  private regroup(at: number): boolean {
    const zoom = this.map.getZoom();
    const groupedFor = zoom < CLUSTER_BELOW_ZOOM ? String(Math.floor(zoom)) : "apart";
    if (groupedFor === this.groupedFor && at - this.groupedAt < REGROUP_EVERY_MS) return false;
    const now = serverNow();
    const spots: Spot[] = [];
    for (const [name, glide] of this.fleet.glides) {
      const vehicle = this.fleet.vehicles.get(name);
      const isShown = this.view.visible === null || this.view.visible.has(name) || name === this.view.selected;
      if (vehicle === undefined || !isShown) continue;
      glide.show(this.isStill() ? Number.POSITIVE_INFINITY : at);
      spots.push({ name, x: glide.x, y: glide.y, motion: motionOf(vehicle, now) });
    }
    // What moves is drawn last, on top of what stands and what is gone.
    spots.sort((a, b) => MOTIONS.indexOf(b.motion) - MOTIONS.indexOf(a.motion));
    const split = groupedFor === "apart" ? { groups: [], alone: spots } : this.split(spots, zoom);
    this.groups = split.groups;
    this.spots = split.alone;
    this.groupedAt = at;
    this.groupedFor = groupedFor;
    return true;
  }

  /** The selected vehicle always stands for itself. */
  private split(spots: readonly Spot[], zoom: number): { groups: Cluster[]; alone: Spot[] } {
    const { groups, alone } = clusters(
      spots.filter((spot) => spot.name !== this.view.selected),
      zoom,
    );
    return { groups, alone: [...alone, ...spots.filter((spot) => spot.name === this.view.selected)] };
  }

  /** Move the markers to where they are at `at`, if on the screen one is seen to move. */
  private glide(at: number, screen: Screen): boolean {
    const least = LEAST_STEP_PX / screen.scale;
    let hasMoved = false;
    for (const spot of this.spots) {
      const glide = this.fleet.glides.get(spot.name);
      glide?.show(at);
      if (glide === undefined || hasMoved || !isOn(screen, spot)) continue;
      hasMoved = Math.abs(glide.x - spot.x) > least || Math.abs(glide.y - spot.y) > least;
    }
    if (hasMoved) {
      for (const spot of this.spots) {
        const glide = this.fleet.glides.get(spot.name);
        if (glide !== undefined) [spot.x, spot.y] = [glide.x, glide.y];
      }
    }
    return hasMoved;
  }

  private drawMarkers(screen: Screen): void {
    const pen = this.markers;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
    for (const group of this.groups) {
      paintCluster(pen, group, group.x * screen.scale + screen.left, group.y * screen.scale + screen.top, this.ratio, this.inks);
    }
    const hasNames = this.view.hasNames && this.map.getZoom() >= NAMES_FROM_ZOOM;
    let names = 0;
    for (const spot of this.spots) {
      if (!isOn(screen, spot)) continue;
      const x = spot.x * screen.scale + screen.left;
      const y = spot.y * screen.scale + screen.top;
      const isSelected = spot.name === this.view.selected;
      if (isSelected) paintRing(pen, x, y, this.ratio, this.inks);
      this.drawSprite(x, y, spot);
      if (isSelected || (hasNames && names < MOST_NAMES)) {
        names += 1;
        paintName(pen, this.names, spot.name, x, y, this.ratio, this.inks);
      }
    }
  }

  private drawSprite(x: number, y: number, spot: Spot): void {
    const sprite = this.sprites[spot.motion];
    const turn = spot.motion === "moving" ? ((this.fleet.glides.get(spot.name)?.heading ?? 0) * Math.PI) / 180 : 0;
    const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
    this.markers.setTransform(cos, sin, -sin, cos, x * this.ratio, y * this.ratio);
    this.markers.drawImage(sprite, -sprite.width / 2, -sprite.height / 2);
  }

  private drawTrails(screen: Screen): void {
    const pen = this.trails;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.lineJoin = pen.lineCap = "round";
    const isTooMuch = this.map.isMoving() && this.spots.length > MOST_TRAILS_ON_THE_MOVE;
    if (this.view.hasTrails && this.groupedFor === "apart" && !isTooMuch) {
      pen.beginPath();
      for (const spot of this.spots) this.traceTrail(spot.name, screen);
      pen.strokeStyle = this.inks.motions.moving;
      pen.globalAlpha = 0.32;
      pen.lineWidth = 2.2;
      pen.stroke();
    }
    if (this.view.selected === null) return;
    pen.beginPath();
    this.traceTrail(this.view.selected, screen);
    pen.strokeStyle = this.inks.accent;
    pen.globalAlpha = 0.9;
    pen.lineWidth = 3.5;
    pen.stroke();
    pen.globalAlpha = 1;
  }

  private traceTrail(name: string, { scale, left, top }: Screen): void {
    const pen = this.trails;
    let [lastX, lastY] = [0, 0];
    this.fleet.trails.get(name)?.walk((mapX, mapY, startsAnew) => {
      const x = mapX * scale + left;
      const y = mapY * scale + top;
      if (startsAnew) pen.moveTo(x, y);
      else if (Math.abs(x - lastX) + Math.abs(y - lastY) < SHORTEST_STEP_PX) return;
      else pen.lineTo(x, y);
      [lastX, lastY] = [x, y];
    });
    const glide = this.fleet.glides.get(name);
    if (glide !== undefined && lastX !== 0) pen.lineTo(glide.x * scale + left, glide.y * scale + top);
  }
}

/** Whether some of a marker is on the screen. */
function isOn({ scale, left, top, width, height }: Screen, spot: Spot): boolean {
  const [x, y] = [spot.x * scale + left, spot.y * scale + top];
  return x >= -SPRITE_PX && y >= -SPRITE_PX && x <= width + SPRITE_PX && y <= height + SPRITE_PX;
}

function context(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const pen = canvas.getContext("2d");
  if (pen === null) throw new Error("this browser has no canvas");
  return pen;
}
