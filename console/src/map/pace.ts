import type { Map as MapLibre } from "maplibre-gl";

/** Slower than thirty frames a second, a map that is dragged lags behind the hand. */
const SLOW_MS = 1000 / 30;
/** With half of the pixels this fast, it can do with all of them. */
const FAST_MS = 1000 / 75;
const FRAMES = 8;
/** Longer than this between frames is a pause of the hand, not of the machine. */
const PAUSE_MS = 400;

/** Whether frames of a moving map take too long: told by how they came. Pure. */
export class Pace {
  isSlow = false;
  private readonly intervals: number[] = [];
  private last: number | null = null;

  /** A frame of the moving map at `at` (ms). */
  frame(at: number): void {
    if (this.last !== null && at - this.last < PAUSE_MS) this.intervals.push(at - this.last);
    this.last = at;
    if (this.intervals.length < FRAMES) return;
    const mean = this.intervals.reduce((sum, each) => sum + each, 0) / this.intervals.length;
    this.intervals.length = 0;
    if (mean > SLOW_MS) this.isSlow = true;
    else if (mean < FAST_MS) this.isSlow = false;
  }

  /** The map stands. */
  rest(): void {
    this.intervals.length = 0;
    this.last = null;
  }
}

const COARSE_RATIO = 0.45;
const SHARP_AFTER_MS = 200;

/**
 * Draws the ground with fewer pixels while it moves, where drawing it takes long: a machine without a graphics card spends
 * a frame on the pixels, whatever is on them. As soon as the map stands it is sharp again.
 */
export function keepPace(map: MapLibre, pace: Pace): () => void {
  let isCoarse = false;
  let isSetting = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
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
    pace.frame(performance.now());
    set(pace.isSlow);
  };
  const onEnd = () => {
    if (isSetting) return;
    pace.rest();
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
  };
}
