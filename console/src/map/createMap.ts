import "maplibre-gl/dist/maplibre-gl.css";
import { Map as MapLibre, setWorkerUrl } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import type { FleetStore } from "../fleet/store";
import { widen, type Bounds } from "./bounds";
import { drawLabels } from "./labels";
import type { Style } from "./tiles";

/** Where the reader last looked: coming back from another page shows the same. */
export interface Camera {
  center: [number, number];
  zoom: number;
}

/** A flat map, north up, without controls of its own: markers need no trigonometry and the page brings the buttons. */
export function createMap(container: HTMLElement, style: Style, camera: Camera | null): MapLibre {
  // A file of our own origin instead of a blob, which a strict Content-Security-Policy forbids.
  setWorkerUrl(workerUrl);
  const map = new MapLibre({
    container,
    style,
    center: camera?.center ?? [10.2, 47.9],
    zoom: camera?.zoom ?? 9,
    minZoom: 2,
    maxZoom: 19,
    maxPitch: 0,
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    rollEnabled: false,
    renderWorldCopies: false,
    attributionControl: false,
    fadeDuration: 0,
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  drawLabels(map);
  return map;
}

/** The box around every vehicle that has a position; null without one. */
export function fleetBounds(fleet: FleetStore): Bounds | null {
  const bounds: Bounds = [180, 90, -180, -90];
  for (const { position } of fleet.vehicles.values()) {
    if (position !== null) widen(bounds, position.lon, position.lat);
  }
  return bounds[0] > bounds[2] ? null : bounds;
}

export function roadBounds(roads: GeoJSON.FeatureCollection): Bounds | null {
  const bounds: Bounds = [180, 90, -180, -90];
  for (const { geometry } of roads.features) {
    if (geometry.type === "LineString") for (const [lon = 0, lat = 0] of geometry.coordinates) widen(bounds, lon, lat);
  }
  return bounds[0] > bounds[2] ? null : bounds;
}

/** Longitude and latitude of a point in map units 0 to 1. */
export function unmercator(x: number, y: number): [lon: number, lat: number] {
  return [(x - 0.5) * 360, (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI];
}
