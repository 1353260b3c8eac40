import { lazy, Suspense, useCallback, useId, useMemo, useState } from "react";
import { widen, type Bounds } from "../map/bounds";
import { fillArea, pin, type Paper } from "../map/paper";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Loading } from "../ui/states";
import { cornerLine, cornersOf, LEAST_CORNERS, placeOf } from "./model";

const CanvasMap = lazy(() => import("../map/CanvasMap"));
const AROUND_DEG = 0.004;
const CORNER_PX = 4.5;

interface Props {
  /** As typed. */
  lat: string;
  lon: string;
  radiusM: number;
  /** One a line. */
  corners: string;
  onPlace: (lat: number, lon: number) => void;
  onCorners: (corners: string) => void;
}

/** Where a site is and how far it reaches: by clicks on the map, and the corners as a list too. */
export function PlaceMap({ lat, lon, radiusM, corners, onPlace, onCorners }: Props) {
  const { s } = useLocale();
  const id = useId();
  const [click, setClick] = useState<"place" | "corner">("place");
  const lines = corners.split("\n").filter((line) => line.trim() !== "");
  const pick = (pickedLat: number, pickedLon: number) => {
    if (click === "place") onPlace(pickedLat, pickedLon);
    else onCorners([...lines, cornerLine({ lat: pickedLat, lon: pickedLon })].join("\n"));
  };
  const draw = useCallback((paper: Paper) => drawPlace(paper, placeOf(lat, lon), radiusM, cornersOf(corners) ?? []), [lat, lon, radiusM, corners]);
  const [start] = useState(() => ({ place: placeOf(lat, lon), corners: cornersOf(corners) ?? [] }));
  const bounds = useMemo(() => boundsOf(start.place, start.corners), [start]);
  return (
    <div className="stack">
      <div className="toolbar middle">
        <span className="muted small">{s.sites.click}</span>
        <div className="switch" role="group" aria-label={s.sites.click}>
          {(["place", "corner"] as const).map((each) => (
            <Button key={each} aria-pressed={click === each} onClick={() => setClick(each)}>
              {s.sites.clicks[each]}
            </Button>
          ))}
        </div>
        <Button disabled={lines.length === 0} onClick={() => onCorners(lines.slice(0, -1).join("\n"))}>
          {s.sites.undoCorner}
        </Button>
        <Button disabled={lines.length === 0} onClick={() => onCorners("")}>
          {s.sites.noCorners}
        </Button>
      </div>
      <div className="player map-small">
        <Suspense fallback={<Loading />}>
          <CanvasMap label={s.sites.pick} bounds={bounds} view="start" draw={draw} onPick={pick} />
        </Suspense>
      </div>
      <div className="field">
        <label htmlFor={id}>{s.sites.cornersLabel}</label>
        <textarea
          id={id}
          rows={Math.min(8, Math.max(2, lines.length + 1))}
          spellCheck={false}
          value={corners}
          aria-describedby={`${id}-hint`}
          onChange={(event) => onCorners(event.target.value)}
        />
        <p id={`${id}-hint`} className="muted small">
          {s.sites.cornersHint}
        </p>
      </div>
    </div>
  );
}

type Place = { lat: number; lon: number };

function drawPlace(paper: Paper, place: Place | null, radiusM: number, corners: readonly Place[]): void {
  const { pen, inks } = paper;
  if (corners.length >= LEAST_CORNERS || place !== null) {
    fillArea(paper, { ...(place ?? { lat: 0, lon: 0 }), radiusM, polygon: corners }, inks.accent);
  }
  pen.fillStyle = inks.accent;
  for (const { lat, lon } of corners) {
    pen.beginPath();
    pen.arc(...paper.place(lat, lon), CORNER_PX, 0, 2 * Math.PI);
    pen.fill();
  }
  if (place !== null) pin(paper, ...paper.place(place.lat, place.lon), "", inks.accent, true);
}

function boundsOf(place: Place | null, corners: readonly Place[]): Bounds | null {
  const bounds: Bounds = [180, 90, -180, -90];
  for (const { lat, lon } of corners) widen(bounds, lon, lat);
  if (place !== null) {
    widen(bounds, place.lon - AROUND_DEG, place.lat - AROUND_DEG);
    widen(bounds, place.lon + AROUND_DEG, place.lat + AROUND_DEG);
  }
  return bounds[0] > bounds[2] ? null : bounds;
}
