import type { Map as MapLibre } from "maplibre-gl";
import { useEffect, useRef, useState, type RefObject } from "react";
import { useTheme } from "../app/theme";
import { createMap, type Camera } from "./createMap";
import { groundColor, styleOf } from "./style";
import { ground, type Ground } from "./tiles";

const NOTHING: Ground = { kind: "none" };

export interface OnGround {
  /** Null until the ground is known, and where this browser draws no map. */
  map: MapLibre | null;
  ground: Ground;
  /** The page's colours, which the ground follows. */
  theme: "light" | "dark";
  /** There is no ground to draw now; the map is there without it. */
  isMissing: boolean;
  /** This browser draws no map. */
  hasFailed: boolean;
}

/** A map in `box` with the ground this installation draws, in the page's colours. */
export function useGround(box: RefObject<HTMLDivElement | null>, camera: Camera | null = null): OnGround {
  const { isDark } = useTheme();
  const theme: OnGround["theme"] = isDark ? "dark" : "light";
  const [found, setFound] = useState<Ground | null>(null);
  const [isMissing, setMissing] = useState(false);
  const [map, setMap] = useState<MapLibre | null>(null);
  const [hasFailed, setFailed] = useState(false);
  const start = useRef({ camera, theme });

  useEffect(() => {
    let isGone = false;
    ground().then(
      (one) => !isGone && setFound(one),
      () => {
        if (isGone) return;
        setMissing(true);
        setFound(NOTHING);
      },
    );
    return () => {
      isGone = true;
    };
  }, []);

  useEffect(() => {
    if (found === null || box.current === null) return undefined;
    let made: MapLibre;
    try {
      made = createMap(box.current, styleOf(found, start.current.theme), start.current.camera);
    } catch {
      setFailed(true);
      return undefined;
    }
    setMap(made);
    return () => {
      made.remove();
      setMap(null);
    };
  }, [box, found]);

  useEffect(() => {
    if (map === null || found === null) return;
    map.setStyle(styleOf(found, theme), { diff: true });
    // What a moving map has not drawn yet looks like land without roads.
    map.getContainer().style.backgroundColor = groundColor(found, theme);
  }, [map, found, theme]);

  return { map, ground: found ?? NOTHING, theme, isMissing, hasFailed };
}
