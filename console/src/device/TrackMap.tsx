import { lazy, Suspense, useCallback, useMemo } from "react";
import type { TrackFix } from "../api/history";
import { widen, type Bounds } from "../map/bounds";
import { edged, type Paper } from "../map/paper";
import { useLocale } from "../strings";
import { Loading } from "../ui/states";
import { stepsOf, type Moment, type Step } from "./track";

const CanvasMap = lazy(() => import("../map/CanvasMap"));
const MOVING_FROM_MPS = 1;

interface Props {
  fixes: readonly TrackFix[];
  at: number;
  moment: Moment | null;
}

/** A day's track: what was driven until now strong, the rest faint, the vehicle on top. */
export function TrackMap({ fixes, at, moment }: Props) {
  const { s } = useLocale();
  const steps = useMemo(() => stepsOf(fixes), [fixes]);
  const bounds = useMemo(() => boundsOf(fixes), [fixes]);
  const draw = useCallback((paper: Paper) => drawTrack(paper, steps, at, moment), [steps, at, moment]);
  return (
    <Suspense fallback={<Loading />}>
      <CanvasMap label={s.track.map} bounds={bounds} view="day" draw={draw} />
    </Suspense>
  );
}

function drawTrack(paper: Paper, steps: readonly Step[], at: number, moment: Moment | null): void {
  const here = moment === null ? null : paper.place(moment.lat, moment.lon);
  stroke(paper, steps, (step) => step.ts >= at, paper.inks.motions.offline, 2.5, null);
  stroke(paper, steps, (step) => step.ts <= at, paper.inks.accent, 4, moment?.isKnown === true ? here : null);
  if (moment === null || here === null) return;
  const isMoving = moment.isKnown && (moment.speed ?? 0) >= MOVING_FROM_MPS;
  paper.truck(...here, moment.isKnown ? (isMoving ? "moving" : "idle") : "stale", moment.heading ?? 0);
}

function stroke(
  paper: Paper,
  steps: readonly Step[],
  isPart: (step: Step) => boolean,
  color: string,
  width: number,
  end: [number, number] | null,
): void {
  const { pen, at } = paper;
  pen.beginPath();
  let isPenDown = false;
  for (const step of steps) {
    if (!isPart(step)) continue;
    if (step.startsAnew || !isPenDown) pen.moveTo(...at(step));
    else pen.lineTo(...at(step));
    isPenDown = true;
  }
  if (end !== null && isPenDown) pen.lineTo(...end);
  edged(paper, color, width);
}

function boundsOf(fixes: readonly TrackFix[]): Bounds {
  const bounds: Bounds = [180, 90, -180, -90];
  for (const { lon, lat } of fixes) widen(bounds, lon, lat);
  return bounds;
}
