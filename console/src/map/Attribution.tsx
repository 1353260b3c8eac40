import type { Ground } from "./tiles";

/** Whom the ground is from, where they want it said. */
export function Attribution({ ground }: { ground: Ground }) {
  const words = "attribution" in ground ? ground.attribution : "";
  return words === "" ? null : <p className="map-attribution">{words}</p>;
}
