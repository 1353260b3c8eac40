import type { Map as MapLibre } from "maplibre-gl";
import { useEffect, useMemo, useRef, useState } from "react";
import { useTheme } from "../app/theme";
import type { TrackFix } from "../api/history";
import { widen, type Bounds } from "../map/bounds";
import { createMap } from "../map/createMap";
import { styleOf } from "../map/style";
import { ground, type Ground } from "../map/tiles";
import { TrackOverlay } from "../map/trackOverlay";
import { useLocale } from "../strings";
import { Empty } from "../ui/states";
import { stepsOf, type Moment } from "./track";

const PADDING_PX = 48;

interface Props {
  fixes: readonly TrackFix[];
  at: number;
  moment: Moment | null;
}

export function TrackMap({ fixes, at, moment }: Props) {
  const { s } = useLocale();
  const { isDark } = useTheme();
  const theme: "light" | "dark" = isDark ? "dark" : "light";
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [base, setBase] = useState<Ground | null>(null);
  const [live, setLive] = useState<{ map: MapLibre; overlay: TrackOverlay } | null>(null);
  const [hasFailed, setFailed] = useState(false);
  const steps = useMemo(() => stepsOf(fixes), [fixes]);

  useEffect(() => {
    let isGone = false;
    void ground()
      .catch((): Ground => ({ kind: "none" }))
      .then((found) => !isGone && setBase(found));
    return () => {
      isGone = true;
    };
  }, []);

  const start = useRef({ theme, fixes });
  useEffect(() => {
    if (base === null || box.current === null || canvas.current === null) return undefined;
    let map: MapLibre;
    try {
      map = createMap(box.current, styleOf(base, start.current.theme), null);
    } catch {
      setFailed(true);
      return undefined;
    }
    const overlay = new TrackOverlay(map, canvas.current);
    map.fitBounds(boundsOf(start.current.fixes), { padding: PADDING_PX, maxZoom: 15, animate: false });
    const draw = () => overlay.draw();
    map.on("move", draw);
    map.on("resize", draw);
    setLive({ map, overlay });
    return () => {
      map.remove();
      setLive(null);
    };
  }, [base]);

  useEffect(() => {
    if (live === null || base === null) return;
    live.map.setStyle(styleOf(base, theme), { diff: true });
    live.overlay.restyle();
  }, [live, base, theme]);

  useEffect(() => {
    live?.map.getCanvas().setAttribute("aria-label", s.track.map);
  }, [live, s]);

  useEffect(() => live?.overlay.show(steps, at, moment), [live, steps, at, moment]);

  if (hasFailed) return <Empty title={s.map.failed} hint={s.map.failedHint} icon="alert" />;
  return (
    <div className="track-map">
      <div ref={box} className="map" />
      <canvas ref={canvas} className="map-layer" aria-hidden="true" />
    </div>
  );
}

function boundsOf(fixes: readonly TrackFix[]): Bounds {
  const bounds: Bounds = [180, 90, -180, -90];
  for (const { lon, lat } of fixes) widen(bounds, lon, lat);
  return bounds;
}
