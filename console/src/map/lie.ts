import type { Map as MapLibre } from "maplibre-gl";

const TILE_PX = 512;

/** How the flat map lies on the screen: screen x = map x (0 to 1) * scale + left, y alike. */
export interface Lie {
  scale: number;
  left: number;
  top: number;
}

export function lieOf(map: MapLibre): Lie {
  const scale = TILE_PX * 2 ** map.getZoom();
  const corner = map.project([0, 0]);
  return { scale, left: corner.x - scale / 2, top: corner.y - scale / 2 };
}

/** The CSS transform (origin 0 0) that takes what was drawn along as the map has moved since: of a flat map that is exact. */
export function carried(from: Lie, to: Lie): string {
  const grown = to.scale / from.scale;
  return `translate(${to.left - from.left * grown}px, ${to.top - from.top * grown}px) scale(${grown})`;
}

export function carry(canvas: HTMLCanvasElement, from: Lie, to: Lie): void {
  canvas.style.transformOrigin = "0 0";
  canvas.style.transform = carried(from, to);
}

export function letGo(canvas: HTMLCanvasElement): void {
  if (canvas.style.transform !== "") canvas.style.transform = "";
}
