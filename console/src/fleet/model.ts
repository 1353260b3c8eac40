import type { Fix, LiveEvent, VehicleState } from "../live/protocol";

/** What a vehicle is doing, as a dispatcher asks it. */
export type Motion = "moving" | "idle" | "stale" | "offline";
export const MOTIONS: readonly Motion[] = ["moving", "idle", "stale", "offline"];

/** The lifecycle states of docs/device-states.md that a fleet list can hold. */
export const STATUSES = ["pending", "active", "suspended", "decommissioned"] as const;
export type Status = (typeof STATUSES)[number];

/** No fix for this long, and the position on the map is no longer where the vehicle is. */
export const STALE_AFTER_MS = 120_000;
/** About walking pace; receivers report small speeds while standing. */
export const MOVING_FROM_MPS = 1;

export interface Vehicle extends VehicleState {
  /** Lower-case text that a search looks through. */
  readonly haystack: string;
}

export function vehicleOf(state: VehicleState): Vehicle {
  const labels = Object.entries(state.labels).map(([name, value]) => `${name}:${value}`);
  return { ...state, haystack: [state.device, state.type ?? "", ...labels].join(" ").toLowerCase() };
}

export function motionOf(vehicle: VehicleState, now: number): Motion {
  if (vehicle.online === false) return "offline";
  if (vehicle.position === null) return vehicle.online === true ? "stale" : "offline";
  if (now - vehicle.position.ts >= STALE_AFTER_MS) return "stale";
  return (vehicle.position.speed ?? 0) >= MOVING_FROM_MPS ? "moving" : "idle";
}

/** When it was last heard of: its last fix, or the change of presence if that is later. */
export function lastSeen(vehicle: VehicleState): number | null {
  const times = [vehicle.position?.ts, vehicle.since].filter((at) => typeof at === "number");
  return times.length === 0 ? null : Math.max(...times);
}

/**
 * The vehicle after an event; the same object when the event tells nothing new: the snapshot may be newer than the
 * events that follow it, so older positions and presences are passed over. Null: the vehicle is gone.
 */
export function after(vehicle: Vehicle | undefined, event: LiveEvent): Vehicle | null {
  const known = vehicle ?? vehicleOf(unheardOf(event.data.device));
  switch (event.type) {
    case "position": {
      if (known.position !== null && event.data.ts < known.position.ts) return known;
      const { device, ...fix } = event.data;
      return { ...known, position: fix satisfies Fix };
    }
    case "presence":
      if (known.since !== null && event.data.since < known.since) return known;
      return { ...known, online: event.data.online, since: event.data.since };
    case "device":
      if (event.data.status === "decommissioned") return null;
      return vehicleOf({ ...known, status: event.data.status, type: event.data.type, labels: event.data.labels });
    default:
      return known;
  }
}

function unheardOf(device: string): VehicleState {
  return { device, status: "active", type: null, labels: {}, online: null, since: null, position: null };
}
