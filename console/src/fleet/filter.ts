import { motionOf, type Motion, type Vehicle } from "./model";

export interface Filter {
  text: string;
  /** Empty: every one. */
  motions: ReadonlySet<Motion>;
  status: string | null;
  presence: "online" | "offline" | null;
  /** `name:value`, or null. */
  label: string | null;
  /** What a search of the server found; null: none was made. */
  found: { where: string; names: ReadonlySet<string> } | null;
}

export const NO_FILTER: Filter = { text: "", motions: new Set(), status: null, presence: null, label: null, found: null };

export function isFiltered(filter: Filter): boolean {
  return (
    filter.text.trim() !== "" ||
    filter.motions.size > 0 ||
    filter.status !== null ||
    filter.presence !== null ||
    filter.label !== null ||
    filter.found !== null
  );
}

/** Whether the vehicle passes: each word of the text must occur in its name, type or labels, and each choice must hold. */
export function passes(vehicle: Vehicle, filter: Filter, now: number): boolean {
  if (filter.status !== null && vehicle.status !== filter.status) return false;
  if (filter.presence !== null && (vehicle.online === true) !== (filter.presence === "online")) return false;
  if (filter.label !== null) {
    const [name, value] = splitLabel(filter.label);
    if (vehicle.labels[name] !== value) return false;
  }
  if (filter.found?.names.has(vehicle.device) === false) return false;
  const words = filter.text.toLowerCase().split(/\s+/);
  if (!words.every((word) => vehicle.haystack.includes(word))) return false;
  return filter.motions.size === 0 || filter.motions.has(motionOf(vehicle, now));
}

function splitLabel(label: string): [string, string] {
  const at = label.indexOf(":");
  return [label.slice(0, at), label.slice(at + 1)];
}

/** Every `name:value` the fleet has, sorted. */
export function labelsOf(vehicles: Iterable<Vehicle>): string[] {
  const found = new Set<string>();
  for (const vehicle of vehicles) {
    for (const [name, value] of Object.entries(vehicle.labels)) found.add(`${name}:${value}`);
  }
  return [...found].sort((a, b) => a.localeCompare(b));
}

/** How many vehicles are in each state of motion. */
export function countMotions(vehicles: Iterable<Vehicle>, now: number): Record<Motion, number> {
  const counts = { moving: 0, idle: 0, stale: 0, offline: 0 };
  for (const vehicle of vehicles) counts[motionOf(vehicle, now)] += 1;
  return counts;
}
