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
