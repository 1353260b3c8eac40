/** Units by how the name of a signal ends (docs/device-contract.md): `milk_temp_c` is in degrees Celsius. Pure. */
const UNITS = new Map(Object.entries({
  bar: "bar",
  c: "°C",
  kg: "kg",
  km: "km",
  kmh: "km/h",
  l: "l",
  m: "m",
  pct: "%",
  rpm: "rpm",
  v: "V",
}));

/** "" where the name does not say. */
export function unitOf(signal: string): string {
  const end = signal.split("_").slice(1).at(-1);
  return UNITS.get(end ?? "") ?? "";
}
