import type { Map as MapLibre } from "maplibre-gl";
import { carry, letGo, lieOf, type Lie } from "./lie";

/** Slower than thirty frames a second, a map that is dragged lags behind the hand. */
const SLOW_MS = 1000 / 30;
/** One long frame says nothing; so many milliseconds of motion do. */
const WINDOW_MS = 400;
/** Longer than this between frames, the page was not looked at. */
const PAUSE_MS = 2000;
/** How long one drawing of the ground is carried along: as short as frames allow. */
const [LEAST_CARRIED_MS, MOST_CARRIED_MS] = [120, 480];
/** Whatever kept the machine busy may be over by then. */
const TRY_AGAIN_MS = 60_000;

/** Whether frames of a moving map take too long, and what to do about it: told by how they came. Pure. */
export class Pace {
  isSlow = false;
  /** Where it is slow: how long a drawing is carried along with the map before there is another one. */
  carriedMs = LEAST_CARRIED_MS;
  private slowSince = 0;
  private elapsedMs = 0;
  private frames = 0;
  private last: number | null = null;

  /** The browser's next frame, at `at` (ms), while the map moves. */
  frame(at: number): void {
    if (this.last !== null && at - this.last < PAUSE_MS) {
      this.elapsedMs += at - this.last;
      this.frames += 1;
    }
    this.last = at;
    if (this.elapsedMs < WINDOW_MS) return;
    const isLate = this.elapsedMs / this.frames > SLOW_MS;
    this.elapsedMs = this.frames = 0;
    if (!isLate) return;
    if (this.isSlow) this.carriedMs = Math.min(MOST_CARRIED_MS, this.carriedMs * 2);
    else [this.isSlow, this.slowSince] = [true, at];
  }

  /** The browser's next frame while the map stands. */
  rest(at: number): void {
    this.elapsedMs = this.frames = 0;
    this.last = null;
    if (!this.isSlow || at - this.slowSince < TRY_AGAIN_MS) return;
    this.isSlow = false;
    this.carriedMs = LEAST_CARRIED_MS;
  }
}

const COARSE_RATIO = 0.5;
const SHARP_AFTER_MS = 200;

interface Drawing {
  at: number;
  lie: Lie;
  width: number;
  height: number;
}

/**
 * Where drawing the ground takes long (a machine without a graphics card spends a frame on its pixels, whatever is on
 * them), a moving map draws it a few times a second with fewer pixels and in all other frames only shifts what is drawn.
 * As soon as the map stands it is drawn with all of them.
 */
export function keepPace(map: MapLibre, pace: Pace): () => void {
  const canvas = map.getCanvas();
  let isCoarse = false;
  let isSetting = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let drawn: Drawing | null = null;
  const paint = map.painter.render.bind(map.painter);
  map.painter.render = (style, transform, data) => {
    const [at, lie, { width, height }] = [performance.now(), lieOf(map), canvas];
    const isDue = !pace.isSlow || !map.isMoving() || drawn === null || at - drawn.at >= pace.carriedMs;
    // A canvas of another size is empty.
    if (drawn !== null && !isDue && drawn.width === width && drawn.height === height) {
      carry(canvas, drawn.lie, lie);
      return;
    }
    letGo(canvas);
    paint(style, transform, data);
    drawn = { at, lie, width, height };
  };
  const set = (coarse: boolean) => {
    if (coarse === isCoarse) return;
    isCoarse = coarse;
    // A change of the ratio says "move" by itself.
    isSetting = true;
    map.setPixelRatio(coarse ? COARSE_RATIO * window.devicePixelRatio : window.devicePixelRatio);
    isSetting = false;
  };
  const onMove = () => {
    if (isSetting) return;
    clearTimeout(timer);
    set(pace.isSlow);
  };
  const onEnd = () => {
    if (isSetting) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (map.isMoving()) return;
      set(false);
      map.redraw();
    }, SHARP_AFTER_MS);
  };
  map.on("move", onMove);
  map.on("moveend", onEnd);
  return () => {
    clearTimeout(timer);
    map.off("move", onMove);
    map.off("moveend", onEnd);
    map.painter.render = paint;
  };
}
