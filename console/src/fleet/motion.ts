import type { Fix } from "../live/protocol";

/** Web Mercator, both axes 0 to 1: what a map draws in, so that a frame needs no trigonometry. */
export interface Point {
  x: number;
  y: number;
}

export function mercator(lat: number, lon: number): Point {
  const sine = Math.sin((Math.max(-85.0511, Math.min(85.0511, lat)) * Math.PI) / 180);
  return { x: lon / 360 + 0.5, y: 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI) };
}

const EARTH_M = 6_371_008.8;

export function distanceM(a: { lat: number; lon: number }, b: { lat: number; lon: number }): number {
  const rad = Math.PI / 180;
  const dLat = (b.lat - a.lat) * rad;
  const dLon = (b.lon - a.lon) * rad;
  const h = Math.sin(dLat / 2) ** 2 + Math.cos(a.lat * rad) * Math.cos(b.lat * rad) * Math.sin(dLon / 2) ** 2;
  return 2 * EARTH_M * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** Fixes further apart than this in time are a gap: the vehicle appears at its new place, it does not race there. */
const GAP_MS = 90_000;
const LONGEST_GLIDE_MS = 12_000;
const SHORTEST_GLIDE_MS = 250;
/** A glide a little longer than the time between fixes ends in the next one instead of in a stop. */
const STRETCH = 1.15;
/** At a gap of distance, no truck drives this fast. */
const FASTEST_MPS = 70;

/**
 * Where a marker is between fixes. Each fix starts a glide from wherever the marker is shown to the new place, as long
 * as fixes are apart; so it never jumps, however irregular they come, and it is behind by one interval at most.
 * Times of `show` and `fix` are the page's own clock in milliseconds.
 */
export class Glide {
  x: number;
  y: number;
  heading: number;
  private fromX: number;
  private fromY: number;
  private toX: number;
  private toY: number;
  private fromHeading: number;
  private turn = 0;
  private startedAt = 0;
  private durationMs = 0;
  private last: Fix;

  constructor(fix: Fix) {
    const { x, y } = mercator(fix.lat, fix.lon);
    this.x = this.fromX = this.toX = x;
    this.y = this.fromY = this.toY = y;
    this.heading = this.fromHeading = fix.heading ?? 0;
    this.last = fix;
  }

  /** Whether the marker is still on its way at `at`. */
  isMoving(at: number): boolean {
    return at < this.startedAt + this.durationMs;
  }

  fix(fix: Fix, at: number): void {
    const apartMs = fix.ts - this.last.ts;
    const target = mercator(fix.lat, fix.lon);
    const isGap =
      apartMs > GAP_MS || distanceM(this.last, fix) > Math.max(200, (FASTEST_MPS * Math.max(apartMs, 1000)) / 1000);
    this.show(at);
    this.fromX = isGap ? target.x : this.x;
    this.fromY = isGap ? target.y : this.y;
    this.toX = target.x;
    this.toY = target.y;
    this.fromHeading = this.heading;
    this.turn = fix.heading === undefined ? 0 : shortestTurn(this.heading, fix.heading);
    this.startedAt = at;
    this.durationMs = isGap ? 0 : Math.min(LONGEST_GLIDE_MS, Math.max(SHORTEST_GLIDE_MS, apartMs * STRETCH));
    this.last = fix;
    this.show(at);
  }

  /** Move the marker to where it is at `at`. */
  show(at: number): void {
    const share = this.durationMs === 0 ? 1 : Math.min(1, Math.max(0, (at - this.startedAt) / this.durationMs));
    this.x = this.fromX + (this.toX - this.fromX) * share;
    this.y = this.fromY + (this.toY - this.fromY) * share;
    // A truck turns within the first part of the way to where it is going.
    this.heading = (this.fromHeading + this.turn * Math.min(1, share * 2) + 360) % 360;
  }
}

/** Degrees from one heading to another the short way round, -180 to 180. */
export function shortestTurn(from: number, to: number): number {
  return ((((to - from) % 360) + 540) % 360) - 180;
}
