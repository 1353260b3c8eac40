export type Bounds = [west: number, south: number, east: number, north: number];

export function widen(bounds: Bounds, lon: number, lat: number): void {
  bounds[0] = Math.min(bounds[0], lon);
  bounds[1] = Math.min(bounds[1], lat);
  bounds[2] = Math.max(bounds[2], lon);
  bounds[3] = Math.max(bounds[3], lat);
}
