import type { Map as MapLibre } from "maplibre-gl";
import { useEffect, useRef, useState } from "react";
import { useLocale } from "../strings";
import { IconButton } from "../ui/Button";
import { Empty } from "../ui/states";
import { Attribution } from "./Attribution";
import type { Bounds } from "./bounds";
import { paperOn, type Paper } from "./paper";
import { useGround } from "./useGround";

/** Around what is shown; a low map gives less away. */
const PADDING_PX = 48;
const PADDING_SHARE = 0.09;
const MOST_ZOOM = 15.5;

interface Props {
  label: string;
  /** What to show at first, and when `view` becomes another; null: the ground as it is. */
  bounds: Bounds | null;
  view: string;
  draw: (paper: Paper) => void;
  /** Draw in every frame: something on it moves by itself. */
  isAlive?: boolean;
  /** A click on the ground, in degrees. */
  onPick?: (lat: number, lon: number) => void;
}

/** The ground with one canvas over it that a page draws on: stops, areas, a truck. */
export default function CanvasMap({ label, bounds, view, draw, isAlive = false, onPick }: Props) {
  const { s } = useLocale();
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const { map, ground, theme, hasFailed } = useGround(box);
  const [paint, setPaint] = useState<((isRestyled: boolean) => void) | null>(null);
  const latest = useRef({ draw, bounds, onPick });
  useEffect(() => {
    latest.current = { draw, bounds, onPick };
  }, [draw, bounds, onPick]);

  useEffect(() => {
    if (map === null || canvas.current === null) return undefined;
    const paper = paperOn(canvas.current, map);
    const next = (isRestyled: boolean) => latest.current.draw(paper(isRestyled));
    map.on("move", () => next(false));
    map.on("resize", () => next(true));
    map.on("click", ({ lngLat }) => latest.current.onPick?.(lngLat.lat, lngLat.lng));
    setPaint(() => next);
    return () => setPaint(null);
  }, [map]);

  useEffect(() => paint?.(true), [paint, theme]);

  useEffect(() => {
    map?.getCanvas().setAttribute("aria-label", label);
  }, [map, label]);

  useEffect(() => {
    if (map !== null) fit(map, latest.current.bounds);
  }, [map, view]);

  useEffect(() => paint?.(false), [paint, draw]);

  useEffect(() => {
    if (paint === null || !isAlive) return undefined;
    let handle = 0;
    const tick = () => {
      paint(false);
      handle = requestAnimationFrame(tick);
    };
    handle = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(handle);
  }, [paint, isAlive]);

  if (hasFailed) return <Empty title={s.map.failed} hint={s.map.failedHint} icon="alert" />;
  return (
    <div className="track-map">
      <div ref={box} className="map" />
      <canvas ref={canvas} className="map-layer" aria-hidden="true" />
      <Attribution ground={ground} />
      {map !== null && (
        <div className="map-controls" role="group" aria-label={s.map.controls}>
          <IconButton icon="plus" label={s.map.zoomIn} onClick={() => map.zoomIn()} />
          <IconButton icon="minus" label={s.map.zoomOut} onClick={() => map.zoomOut()} />
          {bounds !== null && <IconButton icon="fit" label={s.map.fitAll} onClick={() => fit(map, bounds)} />}
        </div>
      )}
    </div>
  );
}

function fit(map: MapLibre, bounds: Bounds | null): void {
  if (bounds === null) return;
  const { clientWidth, clientHeight } = map.getContainer();
  const padding = Math.min(PADDING_PX, Math.round(PADDING_SHARE * Math.min(clientWidth, clientHeight)));
  map.fitBounds(bounds, { padding, maxZoom: MOST_ZOOM, animate: false });
}
