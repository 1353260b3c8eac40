import type { Map as MapLibre } from "maplibre-gl";
import { LABEL, PALETTES } from "./style";

const RATIO = 2;
const PAD_PX = 3;
const FONTS: Record<string, string> = {
  town: "600 14px system-ui, sans-serif",
  village: "500 12px system-ui, sans-serif",
  dairy: "600 12px system-ui, sans-serif",
  farm: "11px system-ui, sans-serif",
};

/** Draws each name the style asks for, when it asks, with this machine's own fonts: none is fetched. */
export function drawLabels(map: MapLibre): void {
  map.setMissingStyleImageResolver((id) => {
    if (!id.startsWith(LABEL) || map.hasImage(id)) return;
    const [, theme, kind = "", ...name] = id.split("|");
    const palette = PALETTES[theme === "dark" ? "dark" : "light"];
    map.addImage(id, picture(name.join("|"), FONTS[kind] ?? "12px system-ui", palette.text, palette.halo), { pixelRatio: RATIO });
  });
}

function picture(text: string, font: string, color: string, halo: string): ImageData {
  const canvas = document.createElement("canvas");
  const measure = pen(canvas, font);
  const width = Math.ceil(measure.measureText(text).width) + 2 * PAD_PX;
  canvas.width = Math.max(1, width * RATIO);
  canvas.height = 20 * RATIO;
  const draw = pen(canvas, font);
  draw.scale(RATIO, RATIO);
  draw.lineWidth = 3;
  draw.lineJoin = "round";
  draw.strokeStyle = halo;
  draw.fillStyle = color;
  draw.textBaseline = "middle";
  draw.strokeText(text, PAD_PX, 10);
  draw.fillText(text, PAD_PX, 10);
  return draw.getImageData(0, 0, canvas.width, canvas.height);
}

function pen(canvas: HTMLCanvasElement, font: string): CanvasRenderingContext2D {
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser has no canvas");
  context.font = font;
  return context;
}
