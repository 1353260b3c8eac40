import type { ExpressionSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";
import type { Ground, Style } from "./tiles";

export interface Palette {
  land: string;
  casing: string;
  road: string;
  mainRoad: string;
  track: string;
  water: string;
  green: string;
  building: string;
  village: string;
  farm: string;
  dairy: string;
  text: string;
  halo: string;
}

export const PALETTES: Record<"light" | "dark", Palette> = {
  light: {
    land: "#eef0e8",
    casing: "#c3c9ba",
    road: "#ffffff",
    mainRoad: "#fff6e0",
    track: "#d9dccf",
    water: "#c9dfe6",
    green: "#e2ead8",
    building: "#e4e4dc",
    village: "#dfe3d5",
    farm: "#a58a63",
    dairy: "#0b6b4b",
    text: "#515a52",
    halo: "#eef0e8",
  },
  dark: {
    land: "#151a1b",
    casing: "#0c1011",
    road: "#323c3d",
    mainRoad: "#465354",
    track: "#232a2b",
    water: "#16262e",
    green: "#1a221e",
    building: "#1f2627",
    village: "#1d2425",
    farm: "#8c7656",
    dairy: "#3fcf95",
    text: "#93a19d",
    halo: "#151a1b",
  },
};

/** What MapLibre is to draw below the vehicles. No fonts and no sprites are fetched: labels are images made on a canvas. */
export function styleOf(ground: Ground, theme: "light" | "dark"): Style {
  if (ground.kind === "style") return ground.style;
  const palette = PALETTES[theme];
  const style: StyleSpecification = {
    version: 8,
    sources: {},
    layers: [{ id: "land", type: "background", paint: { "background-color": palette.land } }],
  };
  if (ground.kind === "roads") {
    style.sources.ground = { type: "geojson", data: ground.roads };
    style.layers.push(...roadLayers(palette, theme));
  } else if (ground.kind === "tiles") {
    style.sources.ground = ground.source;
    style.layers.push(...(ground.source.type === "raster" ? rasterLayers(theme) : vectorLayers(palette)));
  }
  return style;
}

/** What is seen where nothing is drawn; somebody else's style has its own. */
export function groundColor(ground: Ground, theme: "light" | "dark"): string {
  return ground.kind === "style" ? "" : PALETTES[theme].land;
}

function rasterLayers(theme: "light" | "dark"): LayerSpecification[] {
  const paint = theme === "dark" ? { "raster-brightness-max": 0.55, "raster-saturation": -0.6 } : { "raster-saturation": -0.35 };
  return [{ id: "tiles", type: "raster", source: "ground", paint }];
}

const MAIN = ["primary", "secondary"];
const MIDDLE = ["tertiary", "unclassified"];
const SMALL = ["residential", "service"];

const width = (stops: [zoom: number, px: number][]): ExpressionSpecification => [
  "interpolate",
  ["exponential", 1.5],
  ["zoom"],
  ...stops.flat(),
];

const ROADS: { id: string; classes: string[]; from: number; stops: [number, number][]; color: "road" | "mainRoad" }[] = [
  { id: "small", classes: SMALL, from: 11.5, stops: [[11.5, 0.6], [14, 2.5], [17, 12]], color: "road" },
  { id: "middle", classes: MIDDLE, from: 0, stops: [[8, 0.6], [11, 1.6], [14, 4.5], [17, 18]], color: "road" },
  { id: "main", classes: MAIN, from: 0, stops: [[8, 1], [11, 2.8], [14, 7], [17, 24]], color: "mainRoad" },
];

function roadLayers(palette: Palette, theme: string): LayerSpecification[] {
  const line = { "line-cap": "round", "line-join": "round" } as const;
  const ofClass = (classes: string[]): ExpressionSpecification => ["in", ["get", "highway"], ["literal", classes]];
  const ofKind = (kind: string): ExpressionSpecification => ["==", ["get", "kind"], kind];
  const casings = ROADS.map(
    ({ id, classes, from, stops }): LayerSpecification => ({
      id: `${id}-casing`,
      type: "line",
      source: "ground",
      minzoom: from,
      filter: ofClass(classes),
      layout: line,
      paint: { "line-color": palette.casing, "line-width": width(stops.map(([zoom, px]) => [zoom, px * 1.15 + 1.4])) },
    }),
  );
  const fills = ROADS.map(
    ({ id, classes, from, stops, color }): LayerSpecification => ({
      id,
      type: "line",
      source: "ground",
      minzoom: from,
      filter: ofClass(classes),
      layout: line,
      paint: { "line-color": palette[color], "line-width": width(stops) },
    }),
  );
  const circle = (id: string, kind: string, color: string, stops: [number, number][], from = 0): LayerSpecification => ({
    id,
    type: "circle",
    source: "ground",
    minzoom: from,
    filter: ofKind(kind),
    paint: { "circle-color": color, "circle-radius": width(stops) },
  });
  return [
    circle("village-ground", "village", palette.village, [[8, 3], [11, 12], [14, 70]]),
    circle("town-ground", "town", palette.village, [[8, 5], [11, 18], [14, 100]]),
    {
      id: "track",
      type: "line",
      source: "ground",
      minzoom: 12,
      filter: ofClass(["track"]),
      paint: { "line-color": palette.track, "line-width": 1.2, "line-dasharray": [3, 2] },
    },
    ...casings,
    ...fills,
    circle("farm", "farm", palette.farm, [[9, 1.2], [11, 2.4], [14, 5]], 9),
    circle("dairy", "dairy", palette.dairy, [[8, 3], [11, 6], [14, 9]]),
    labels("farm-names", "farm", theme, 12.5),
    labels("place-names", "village", theme, 9.5),
    labels("town-names", "town", theme, 7),
    labels("dairy-names", "dairy", theme, 9),
  ];
}

function labels(id: string, kind: string, theme: string, from: number): LayerSpecification {
  return {
    id,
    type: "symbol",
    source: "ground",
    minzoom: from,
    filter: ["==", ["get", "kind"], kind],
    layout: {
      "icon-image": ["concat", `${LABEL}${theme}|${kind}|`, ["get", "name"]],
      "icon-anchor": kind === "village" || kind === "town" ? "center" : "top",
      "icon-offset": kind === "village" || kind === "town" ? [0, 0] : [0, 7],
      "icon-padding": 4,
    },
  };
}

/** How the id of an image begins that is the drawing of a name: `label|theme|kind|name`. */
export const LABEL = "label|";

/** Calm ground from vector tiles, in the two schemas that are common: OpenMapTiles and Protomaps. */
function vectorLayers(palette: Palette): LayerSpecification[] {
  const fill = (id: string, layer: string, color: string, from = 0): LayerSpecification => ({
    id,
    type: "fill",
    source: "ground",
    "source-layer": layer,
    minzoom: from,
    paint: { "fill-color": color },
  });
  const line = (id: string, layer: string, color: string, stops: [number, number][]): LayerSpecification => ({
    id,
    type: "line",
    source: "ground",
    "source-layer": layer,
    layout: { "line-cap": "round", "line-join": "round" },
    paint: { "line-color": color, "line-width": width(stops) },
  });
  const stops: [number, number][] = [[6, 0.4], [10, 1], [14, 4], [17, 14]];
  const wider = stops.map(([zoom, px]): [number, number] => [zoom, px + 1.4]);
  return [
    ...["landcover", "landuse", "park"].map((layer) => fill(layer, layer, palette.green)),
    fill("water", "water", palette.water),
    ...["building", "buildings"].map((layer) => fill(layer, layer, palette.building, 13)),
    ...["transportation", "roads"].map((layer) => line(`${layer}-casing`, layer, palette.casing, wider)),
    ...["transportation", "roads"].map((layer) => line(layer, layer, palette.road, stops)),
    ...["boundary", "boundaries"].map((layer) => line(layer, layer, palette.casing, [[4, 0.6], [12, 1.6]])),
  ];
}
