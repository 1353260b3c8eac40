import type { Map as MapLibre } from "maplibre-gl";
import { useEffect, useRef, useState } from "react";
import { remember, remembered } from "../app/memory";
import type { FleetStore } from "../fleet/store";
import { useLocale } from "../strings";
import { Empty } from "../ui/states";
import { Attribution } from "./Attribution";
import { fleetBounds, roadBounds, unmercator, type Camera } from "./createMap";
import { MapControls } from "./MapControls";
import { FleetOverlay } from "./overlay";
import { keepPace, Pace } from "./pace";
import type { Ground } from "./tiles";
import { useGround } from "./useGround";

interface Props {
  fleet: FleetStore;
  visible: ReadonlySet<string> | null;
  selected: string | null;
  onSelect: (name: string | null) => void;
  isFollowing: boolean;
  onFollow: (isFollowing: boolean) => void;
}

const SAME_FRAME_MS = 6;
const FOLLOW_EVERY_MS = 700;
const OFF_CENTRE_PX = 90;
const PADDING_PX = 56;
const NARROW_PADDING_PX = 24;
const NARROW_PX = 700;
const EDGE_PX = 24;
/** What the card of the selected vehicle covers, in the lower left corner; the whole width where it is narrow. */
const CARD_WIDTH_PX = 352;
const CARD_HEIGHT_PX = 330;
const stillness = window.matchMedia("(prefers-reduced-motion: reduce)");
const isStill = () => stillness.matches;

let lastCamera: Camera | null = null;

/** The live map: ground by MapLibre, vehicles by the overlay, kept in step with the list through `selected`. */
export default function FleetMap({ fleet, visible, selected, onSelect, isFollowing, onFollow }: Props) {
  const { s } = useLocale();
  const box = useRef<HTMLDivElement>(null);
  const markers = useRef<HTMLCanvasElement>(null);
  const trails = useRef<HTMLCanvasElement>(null);
  const { map, ground, theme, isMissing, hasFailed } = useGround(box, lastCamera);
  const [overlay, setOverlay] = useState<FleetOverlay | null>(null);
  const [hasTrails, setTrails] = useState(remembered("trails") !== "off");
  const [hasNames, setNames] = useState(remembered("names") === "on");
  const latest = useRef({ onSelect, onFollow });
  useEffect(() => {
    latest.current = { onSelect, onFollow };
  }, [onSelect, onFollow]);

  const start = useRef(ground);
  useEffect(() => {
    start.current = ground;
  }, [ground]);
  useEffect(() => {
    const [above, below] = [markers.current, trails.current];
    if (map === null || above === null || below === null) return undefined;
    const next = new FleetOverlay(map, fleet, { markers: above, trails: below }, isStill);
    const pace = new Pace();
    const stop = run(map, next, pace);
    const unpace = keepPace(map, pace);
    const unlisten = listen(map, next, latest);
    const unfit = lastCamera === null ? fitOnce(map, fleet, start.current) : () => undefined;
    setOverlay(next);
    return () => {
      unfit();
      unlisten();
      unpace();
      stop();
      setOverlay(null);
    };
  }, [fleet, map]);

  useEffect(() => overlay?.restyle(), [overlay, theme]);

  useEffect(() => {
    if (overlay === null) return;
    overlay.view = { visible, selected, hasTrails, hasNames };
    overlay.changed();
  }, [overlay, visible, selected, hasTrails, hasNames]);

  useEffect(() => {
    map?.getCanvas().setAttribute("aria-label", s.map.label);
  }, [map, s]);

  useReveal(map, fleet, selected);
  useFollow(map, fleet, isFollowing ? selected : null);

  if (hasFailed) return <Empty title={s.map.failed} hint={s.map.failedHint} icon="alert" />;
  return (
    <>
      <div ref={box} className="map" />
      <canvas ref={trails} className="map-layer" aria-hidden="true" />
      <canvas ref={markers} className="map-layer" aria-hidden="true" />
      {isMissing && <p className="map-note">{s.map.baseFailed}</p>}
      <Attribution ground={ground} />
      {map !== null && (
        <MapControls
          map={map}
          onFit={() => fit(map, fleet, ground)}
          hasTrails={hasTrails}
          onTrails={(on) => {
            remember("trails", on ? "on" : "off");
            setTrails(on);
          }}
          hasNames={hasNames}
          onNames={(on) => {
            remember("names", on ? "on" : "off");
            setNames(on);
          }}
        />
      )}
    </>
  );
}

/** Draw in every frame while the map is there. */
function run(map: MapLibre, overlay: FleetOverlay, pace: Pace): () => void {
  let handle = 0;
  let drawnAt = 0;
  const draw = () => {
    drawnAt = performance.now();
    overlay.frame(drawnAt, pace);
  };
  const tick = () => {
    if (map.isMoving()) pace.frame(performance.now());
    else pace.rest(performance.now());
    if (performance.now() - drawnAt > SAME_FRAME_MS) draw();
    handle = requestAnimationFrame(tick);
  };
  handle = requestAnimationFrame(tick);
  // While the map moves, markers move in the same frame as the ground.
  map.on("move", draw);
  return () => {
    cancelAnimationFrame(handle);
    map.off("move", draw);
  };
}

function listen(
  map: MapLibre,
  overlay: FleetOverlay,
  latest: { current: { onSelect: (name: string | null) => void; onFollow: (on: boolean) => void } },
): () => void {
  const canvas = map.getCanvas();
  map.on("click", ({ point }) => {
    const hit = overlay.hit(point.x, point.y);
    if (hit?.kind === "cluster") {
      const [west, north, east, south] = hit.cluster.bounds;
      map.fitBounds([unmercator(west, south), unmercator(east, north)], { padding: PADDING_PX, maxZoom: 14, animate: !isStill() });
    } else {
      if (hit === null) latest.current.onFollow(false);
      latest.current.onSelect(hit?.name ?? null);
    }
  });
  map.on("mousemove", ({ point }) => {
    if (map.isMoving()) return;
    canvas.style.cursor = overlay.hit(point.x, point.y) === null ? "" : "pointer";
  });
  map.on("dragstart", () => latest.current.onFollow(false));
  map.on("moveend", () => {
    const center = map.getCenter();
    lastCamera = { center: [center.lng, center.lat], zoom: map.getZoom() };
  });
  map.on("resize", () => overlay.resize());
  const onPixels = () => overlay.restyle();
  window.addEventListener("resize", onPixels);
  return () => window.removeEventListener("resize", onPixels);
}

function padding(map: MapLibre): number {
  return map.getContainer().clientWidth < NARROW_PX ? NARROW_PADDING_PX : PADDING_PX;
}

function fit(map: MapLibre, fleet: FleetStore, base: Ground): boolean {
  const bounds = fleetBounds(fleet) ?? (base.kind === "roads" ? roadBounds(base.roads) : null);
  if (bounds === null) return false;
  map.fitBounds(bounds, { padding: padding(map), maxZoom: 14, animate: !isStill(), duration: 700 });
  return true;
}

/** Show the whole fleet as soon as there is one. */
function fitOnce(map: MapLibre, fleet: FleetStore, base: Ground): () => void {
  const show = () => {
    const bounds = fleetBounds(fleet);
    if (bounds === null) return false;
    map.fitBounds(bounds, { padding: padding(map), maxZoom: 14, animate: false });
    return true;
  };
  if (show()) return () => undefined;
  if (base.kind === "roads") {
    const bounds = roadBounds(base.roads);
    if (bounds !== null) map.fitBounds(bounds, { padding: padding(map), animate: false });
  }
  const unsubscribe = fleet.subscribe(() => {
    if (show()) unsubscribe();
  });
  return unsubscribe;
}

/** Bring a newly selected vehicle into sight if it is not, or is below the card that tells of it. */
function useReveal(map: MapLibre | null, fleet: FleetStore, selected: string | null): void {
  useEffect(() => {
    const position = selected === null ? null : fleet.vehicles.get(selected)?.position;
    if (map === null || position === null || position === undefined) return;
    const center: [number, number] = [position.lon, position.lat];
    const at = map.project(center);
    const { width, height } = map.getContainer().getBoundingClientRect();
    const isNarrow = width < NARROW_PX;
    const isOut = at.x < EDGE_PX || at.y < EDGE_PX || at.x > width - EDGE_PX || at.y > height - EDGE_PX;
    const isCovered = at.y > height - CARD_HEIGHT_PX && (isNarrow || at.x < CARD_WIDTH_PX);
    if (!isOut && !isCovered) return;
    const offset: [number, number] = isNarrow ? [0, -CARD_HEIGHT_PX / 2] : [CARD_WIDTH_PX / 4, 0];
    map.easeTo({ center, offset, zoom: Math.max(map.getZoom(), isOut ? 12 : 0), animate: !isStill() });
  }, [map, fleet, selected]);
}

function useFollow(map: MapLibre | null, fleet: FleetStore, name: string | null): void {
  useEffect(() => {
    if (map === null || name === null) return undefined;
    let isFirst = true;
    const step = () => {
      const glide = fleet.glides.get(name);
      if (glide === undefined) return;
      const place = unmercator(glide.x, glide.y);
      const [at, { width, height }] = [map.project(place), map.getContainer().getBoundingClientRect()];
      const isOff = Math.hypot(at.x - width / 2, at.y - height / 2) > OFF_CENTRE_PX;
      if (isFirst) map.easeTo({ center: place, zoom: Math.max(map.getZoom(), 14), animate: !isStill() });
      else if (isOff && !map.isZooming()) {
        map.easeTo({ center: place, duration: FOLLOW_EVERY_MS, easing: (share) => share, animate: !isStill() });
      }
      isFirst = false;
    };
    step();
    const timer = setInterval(step, FOLLOW_EVERY_MS);
    return () => clearInterval(timer);
  }, [map, fleet, name]);
}
