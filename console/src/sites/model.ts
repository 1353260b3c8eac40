/** Sites and the plan of routes as people fill them in. Pure. */

export const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
export type Day = (typeof DAYS)[number];
export const KINDS = ["farm", "depot", "warehouse", "other"] as const;
export type Kind = (typeof KINDS)[number];

export interface Window {
  days: Day[];
  from: string;
  to: string;
}

/** "Mon–Fri", "Sat, Sun": runs of three or more are drawn together. */
export function daysWords(days: readonly string[], names: Record<Day, string>): string {
  const runs: Day[][] = [];
  for (const [index, day] of DAYS.entries()) {
    if (!days.includes(day)) continue;
    const last = runs.at(-1);
    if (last !== undefined && DAYS.indexOf(last.at(-1) ?? "mon") === index - 1) last.push(day);
    else runs.push([day]);
  }
  return runs
    .map((run) => (run.length > 2 ? `${names[run[0] ?? "mon"]}–${names[run.at(-1) ?? "sun"]}` : run.map((day) => names[day]).join(", ")))
    .join(", ");
}

/** What a file is, by its name and its first character; null: neither. */
export function fileType(name: string, text: string): "text/csv" | "application/geo+json" | null {
  const ending = name.toLowerCase().split(".").at(-1) ?? "";
  if (["json", "geojson"].includes(ending) || text.trimStart().startsWith("{")) return "application/geo+json";
  return ["csv", "txt"].includes(ending) || /[,;]/.test(text.split("\n")[0] ?? "") ? "text/csv" : null;
}

/** `47.9, 10.2` in two numbers; null where it is no place on earth. */
export function placeOf(lat: string, lon: string): { lat: number; lon: number } | null {
  const place = { lat: Number(lat.replace(",", ".")), lon: Number(lon.replace(",", ".")) };
  const isThere = lat.trim() !== "" && lon.trim() !== "" && Math.abs(place.lat) <= 90 && Math.abs(place.lon) <= 180;
  return isThere ? place : null;
}

export interface Corner {
  lat: number;
  lon: number;
}

/** At least so many make an area (docs/trips.md). */
export const LEAST_CORNERS = 3;

/** Corners as they are typed, one a line, latitude first; null where a line names no place on earth. */
export function cornersOf(text: string): Corner[] | null {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const corners = lines.map((line) => {
    // A comma parts two numbers, or is the decimal one of each where something else parts them.
    const parts = line.trim().split(/\s*;\s*|,\s+|\s+/);
    const [lat = "", lon = "", ...rest] = parts.length === 1 ? line.trim().split(",") : parts;
    return rest.length === 0 ? placeOf(lat, lon) : null;
  });
  return corners.every((corner) => corner !== null) ? corners : null;
}

export function cornerLine({ lat, lon }: Corner): string {
  return `${lat.toFixed(6)}, ${lon.toFixed(6)}`;
}
