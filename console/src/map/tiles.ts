import { addProtocol, type SourceSpecification, type StyleSpecification } from "maplibre-gl";
import { PMTiles, Protocol, TileType } from "pmtiles";

/** `/console/config.json`; every key may be missing or empty. */
interface Config {
  tiles_url?: string | null;
  tiles_attribution?: string | null;
}

/** Where the ground comes from: the district's own roads, tiles in the console's own style, or a style by somebody else. */
export type Ground =
  | { kind: "roads"; roads: GeoJSON.FeatureCollection }
  | { kind: "tiles"; source: SourceSpecification; attribution: string }
  | { kind: "style"; style: string; attribution: string }
  | { kind: "none" };

const EMPTY: Ground = { kind: "none" };
let pending: Promise<Ground> | null = null;

/** Read once for all maps of the page; a failure is read again the next time. */
export function ground(): Promise<Ground> {
  pending ??= load().catch((error: unknown) => {
    pending = null;
    throw error;
  });
  return pending;
}

async function load(): Promise<Ground> {
  const config = (await json<Config>("/console/config.json")) ?? {};
  const url = config.tiles_url ?? "";
  if (url !== "") return tiles(url, config.tiles_attribution ?? "");
  const roads = await json<GeoJSON.FeatureCollection>("/v1/basemap");
  return roads === null || roads.features.length === 0 ? EMPTY : { kind: "roads", roads };
}

async function json<T>(path: string): Promise<T | null> {
  const response = await fetch(path, { credentials: "same-origin" });
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return (await response.json()) as T;
}

async function tiles(url: string, attribution: string): Promise<Ground> {
  const path = new URL(url, window.location.href).pathname;
  if (path.endsWith(".pmtiles")) {
    const archive = new PMTiles(url);
    const protocol = new Protocol();
    protocol.add(archive);
    addProtocol("pmtiles", protocol.tile);
    const isVector = (await archive.getHeader()).tileType === TileType.Mvt;
    const source: SourceSpecification = isVector
      ? { type: "vector", url: `pmtiles://${url}`, attribution }
      : { type: "raster", url: `pmtiles://${url}`, tileSize: 256, attribution };
    return { kind: "tiles", source, attribution };
  }
  if (!url.includes("{z}")) return { kind: "style", style: url, attribution };
  const isVector = /\.(pbf|mvt)$/.test(path);
  const source: SourceSpecification = isVector
    ? { type: "vector", tiles: [url], attribution, maxzoom: 14 }
    : { type: "raster", tiles: [url], tileSize: 256, attribution, maxzoom: 19 };
  return { kind: "tiles", source, attribution };
}

export type Style = StyleSpecification | string;
