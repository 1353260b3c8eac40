import type { Motion } from "../fleet/model";

/** Markers closer than this on the screen share one sign when zoomed out. */
const CELL_PX = 72;
const LEAST = 3;
const TILE_PX = 512;

export interface Spot {
  name: string;
  x: number;
  y: number;
  motion: Motion;
}

export interface Cluster {
  x: number;
  y: number;
  count: number;
  motions: Record<Motion, number>;
  /** West, north, east, south in map units 0 to 1. */
  bounds: [number, number, number, number];
}

/**
 * Groups of neighbours, and the spots that stand alone. The grid is fixed to the ground at each whole zoom level, so
 * groups stay the same while the map is moved and while trucks drive about within them.
 */
export function clusters(spots: Iterable<Spot>, zoom: number): { groups: Cluster[]; alone: Spot[] } {
  const cells = new Map<string, Spot[]>();
  const size = CELL_PX / (TILE_PX * 2 ** Math.floor(zoom));
  for (const spot of spots) {
    const key = `${Math.floor(spot.x / size)} ${Math.floor(spot.y / size)}`;
    const cell = cells.get(key);
    if (cell === undefined) cells.set(key, [spot]);
    else cell.push(spot);
  }
  const groups: Cluster[] = [];
  const alone: Spot[] = [];
  for (const cell of cells.values()) {
    if (cell.length < LEAST) alone.push(...cell);
    else groups.push(groupOf(cell));
  }
  return { groups, alone };
}

function groupOf(cell: readonly Spot[]): Cluster {
  const motions = { moving: 0, idle: 0, stale: 0, offline: 0 };
  let [x, y] = [0, 0];
  const bounds: Cluster["bounds"] = [1, 1, 0, 0];
  for (const spot of cell) {
    motions[spot.motion] += 1;
    x += spot.x;
    y += spot.y;
    bounds[0] = Math.min(bounds[0], spot.x);
    bounds[1] = Math.min(bounds[1], spot.y);
    bounds[2] = Math.max(bounds[2], spot.x);
    bounds[3] = Math.max(bounds[3], spot.y);
  }
  return { x: x / cell.length, y: y / cell.length, count: cell.length, motions, bounds };
}
