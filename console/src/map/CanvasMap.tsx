import type { Map as MapLibre } from "maplibre-gl";
import { useEffect, useRef, useState } from "react";
import { useTheme } from "../app/theme";
import { useLocale } from "../strings";
import { IconButton } from "../ui/Button";
import { Empty } from "../ui/states";
import type { Bounds } from "./bounds";
import { createMap } from "./createMap";
import { paperOn, type Paper } from "./paper";
import { styleOf } from "./style";
import { ground, type Ground } from "./tiles";

const PADDING_PX = 48;
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
  const { isDark } = useTheme();
  const theme: "light" | "dark" = isDark ? "dark" : "light";
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [base, setBase] = useState<Ground | null>(null);
  const [live, setLive] = useState<{ map: MapLibre; paint: (isRestyled: boolean) => void } | null>(null);
  const [hasFailed, setFailed] = useState(false);
  const latest = useRef({ draw, bounds, onPick, theme });
  useEffect(() => {
    latest.current = { draw, bounds, onPick, theme };
  }, [draw, bounds, onPick, theme]);

  useEffect(() => {
    let isGone = false;
    void ground()
      .catch((): Ground => ({ kind: "none" }))
      .then((found) => !isGone && setBase(found));
    return () => {
      isGone = true;
    };
  }, []);

  useEffect(() => {
    if (base === null || box.current === null || canvas.current === null) return undefined;
    let map: MapLibre;
    try {
      map = createMap(box.current, styleOf(base, latest.current.theme), null);
    } catch {
      setFailed(true);
      return undefined;
    }
    const paper = paperOn(canvas.current, map);
    const paint = (isRestyled: boolean) => latest.current.draw(paper(isRestyled));
    const onMove = () => paint(false);
    map.on("move", onMove);
    map.on("resize", () => paint(true));
    map.on("click", ({ lngLat }) => latest.current.onPick?.(lngLat.lat, lngLat.lng));
    setLive({ map, paint });
    return () => {
      map.remove();
      setLive(null);
    };
  }, [base]);

  useEffect(() => {
    if (live === null || base === null) return;
    live.map.setStyle(styleOf(base, theme), { diff: true });
    live.paint(true);
  }, [live, base, theme]);

  useEffect(() => {
    live?.map.getCanvas().setAttribute("aria-label", label);
  }, [live, label]);

  useEffect(() => {
    if (live !== null) fit(live.map, latest.current.bounds);
  }, [live, view]);

  useEffect(() => live?.paint(false), [live, draw]);

  useEffect(() => {
    if (live === null || !isAlive) return undefined;
    let handle = 0;
    const tick = () => {
      live.paint(false);
      handle = requestAnimationFrame(tick);
    };
    handle = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(handle);
  }, [live, isAlive]);

  if (hasFailed) return <Empty title={s.map.failed} hint={s.map.failedHint} icon="alert" />;
  return (
    <div className="track-map">
      <div ref={box} className="map" />
      <canvas ref={canvas} className="map-layer" aria-hidden="true" />
      {live !== null && (
        <div className="map-controls" role="group" aria-label={s.map.controls}>
          <IconButton icon="plus" label={s.map.zoomIn} onClick={() => live.map.zoomIn()} />
          <IconButton icon="minus" label={s.map.zoomOut} onClick={() => live.map.zoomOut()} />
          {bounds !== null && <IconButton icon="fit" label={s.map.fitAll} onClick={() => fit(live.map, bounds)} />}
        </div>
      )}
    </div>
  );
}

function fit(map: MapLibre, bounds: Bounds | null): void {
  if (bounds !== null) map.fitBounds(bounds, { padding: PADDING_PX, maxZoom: MOST_ZOOM, animate: false });
}
