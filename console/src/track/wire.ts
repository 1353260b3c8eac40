import type { Schemas } from "../api/client";
import type { Told } from "./model";

/** GET /v1/track/{token}, and each `sight` of its stream. */
export type Sight = Schemas["SightBody"];

export function toldOf({ state, stop, arrival, truck, planned_at, stops_before, expires_at }: Sight): Told {
  return {
    state,
    name: stop?.name ?? "",
    timezone: stop?.timezone ?? "UTC",
    at: { lat: stop?.lat ?? 0, lon: stop?.lon ?? 0 },
    plannedAt: planned_at === null ? null : Date.parse(planned_at),
    expected:
      arrival === null
        ? null
        : {
            eta: Date.parse(arrival.eta),
            p10: Date.parse(arrival.p10),
            p90: Date.parse(arrival.p90),
            fixAt: Date.parse(arrival.fix_at),
            method: arrival.method,
          },
    before: stops_before,
    truck: truck === null ? null : { ...truck, ts: Date.parse(truck.ts) },
    expiresAt: Date.parse(expires_at),
  };
}
