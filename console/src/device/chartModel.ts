import type { Sample } from "../api/history";

export interface Frame {
  width: number;
  height: number;
  from: number;
  to: number;
  low: number;
  high: number;
}

/** Longer than this many buckets without a value, and the line breaks. */
const BREAK_AFTER = 2.5;
const RAW_BREAK_MS = 120_000;
/** 4.1 / 0.1 is 40.99999999999999. */
const NOISE = 1e-9;

/** Round numbers that hold all values, three or more lines apart: 0, 20, 40 for 3 to 37. */
export function scaleOf(samples: readonly Sample[]): { low: number; high: number; ticks: number[] } {
  let low = Math.min(...samples.map((sample) => sample.low));
  let high = Math.max(...samples.map((sample) => sample.high));
  if (low === high) {
    const margin = Math.abs(low) * 0.1 || 1;
    [low, high] = [low - margin, high + margin];
  }
  const step = roundStep((high - low) / 3);
  const first = Math.floor(low / step + NOISE);
  const last = Math.ceil(high / step - NOISE);
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
  return { low: first * step, high: last * step, ticks };
}

function roundStep(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(wanted));
  const share = wanted / power;
  return (share > 5 ? 10 : share > 2 ? 5 : share > 1 ? 2 : 1) * power;
}

export function xOf(frame: Frame, ts: number): number {
  return ((ts - frame.from) / (frame.to - frame.from)) * frame.width;
}

export function yOf(frame: Frame, value: number): number {
  return frame.height - ((value - frame.low) / (frame.high - frame.low)) * frame.height;
}

/** The stretches without a gap. */
export function stretches(samples: readonly Sample[], bucketMs: number | null): Sample[][] {
  const longest = bucketMs === null ? RAW_BREAK_MS : bucketMs * BREAK_AFTER;
  const found: Sample[][] = [];
  for (const sample of samples) {
    const current = found.at(-1);
    const before = current?.at(-1);
    if (current === undefined || before === undefined || sample.ts - before.ts > longest) found.push([sample]);
    else current.push(sample);
  }
  return found;
}

const point = (x: number, y: number) => `${x.toFixed(1)} ${y.toFixed(1)}`;

export function linePath(frame: Frame, parts: readonly Sample[][]): string {
  return parts
    .map((part) => {
      const points = part.map((sample) => point(xOf(frame, sample.ts), yOf(frame, sample.value)));
      // A value all alone is a line to itself, which round ends make a dot.
      return `M${points.join("L")}${points.length === 1 ? `L${points[0] ?? ""}` : ""}`;
    })
    .join("");
}

/** The area between the least and the greatest value of each bucket. */
export function bandPath(frame: Frame, parts: readonly Sample[][]): string {
  return parts
    .map((part) => {
      const upper = part.map((sample) => point(xOf(frame, sample.ts), yOf(frame, sample.high)));
      const lower = part.map((sample) => point(xOf(frame, sample.ts), yOf(frame, sample.low))).reverse();
      return `M${[...upper, ...lower].join("L")}Z`;
    })
    .join("");
}

/** Index of the sample nearest to an instant. */
export function nearest(samples: readonly Sample[], ts: number): number {
  let best = 0;
  samples.forEach((sample, index) => {
    if (Math.abs(sample.ts - ts) < Math.abs((samples[best]?.ts ?? 0) - ts)) best = index;
  });
  return best;
}
