import { lazy, Suspense, useCallback } from "react";
import { motionOf } from "../fleet/model";
import { useVehicle } from "../fleet/useFleet";
import { useLive } from "../live/LiveProvider";
import { serverNow } from "../live/clock";
import { widen, type Bounds } from "../map/bounds";
import { fillArea, pin, strokeLine, type Paper, type Place } from "../map/paper";
import { useLocale } from "../strings";
import { Loading } from "../ui/states";
import type { Inks } from "../map/sprites";
import type { Stop, Trip } from "./model";

const CanvasMap = lazy(() => import("../map/CanvasMap"));

/** The way of a trip: its road where one is known, its stops in order, and the truck while it is under way. */
export function TripMap({ trip, shape }: { trip: Trip; shape: readonly Place[] }) {
  const { s } = useLocale();
  const { fleet } = useLive();
  const isUnderWay = trip.state === "under_way";
  const vehicle = useVehicle(isUnderWay ? trip.device : null);
  const draw = useCallback(
    (paper: Paper) => {
      drawWay(paper, trip, shape);
      for (const stop of trip.stops) fillArea(paper, stop, inkOf(stop, paper.inks));
      trip.stops.forEach((stop, index) => {
        pin(paper, ...paper.place(stop.lat, stop.lon), String(index + 1), inkOf(stop, paper.inks), stop.state === "planned");
      });
      const glide = vehicle === null ? undefined : fleet.glides.get(vehicle.device);
      if (vehicle === null || glide === undefined) return;
      glide.show(performance.now());
      paper.truck(...paper.at(glide), motionOf(vehicle, serverNow()), glide.heading);
    },
    [trip, shape, vehicle, fleet],
  );
  return (
    <Suspense fallback={<Loading />}>
      <CanvasMap label={s.trips.page.map} bounds={boundsOf(trip, shape, vehicle?.position ?? null)} view={`${trip.id} ${vehicle?.position ? "with its truck" : ""}`} draw={draw} isAlive={vehicle !== null} />
    </Suspense>
  );
}

/** A road is drawn as it is; where only stops are known, lines from one to the next are dashed: nobody drives there. */
function drawWay(paper: Paper, trip: Trip, shape: readonly Place[]): void {
  if (shape.length > 1) {
    strokeLine(paper, shape, paper.inks.accent, 3.5);
    return;
  }
  paper.pen.setLineDash([2, 7]);
  strokeLine(
    paper,
    trip.stops.filter((stop) => stop.state !== "skipped"),
    paper.inks.motions.offline,
    2.5,
  );
  paper.pen.setLineDash([]);
}

function inkOf(stop: Stop, inks: Inks): string {
  return { planned: inks.accent, arrived: inks.motions.idle, served: inks.motions.moving, skipped: inks.motions.offline }[stop.state];
}

function boundsOf(trip: Trip, shape: readonly Place[], truck: Place | null): Bounds {
  const bounds: Bounds = [180, 90, -180, -90];
  for (const { lat, lon } of trip.stops) widen(bounds, lon, lat);
  for (const { lat, lon } of shape) widen(bounds, lon, lat);
  if (truck !== null) widen(bounds, truck.lon, truck.lat);
  return bounds;
}
