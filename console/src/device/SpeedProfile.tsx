import { useMemo } from "react";
import type { TrackFix } from "../api/history";
import { useLocale } from "../strings";
import { GAP_MS } from "./track";

const WIDTH = 1000;
const HEIGHT = 48;
const LEAST_TOP_MPS = 14;

/** Speed over the day, above the slider and on its scale: where the vehicle drove, stood, and was not heard of. */
export function SpeedProfile({ fixes, from, to, at }: { fixes: readonly TrackFix[]; from: number; to: number; at: number }) {
  const { s } = useLocale();
  const area = useMemo(() => areaOf(fixes, from, to), [fixes, from, to]);
  const x = ((at - from) / (to - from)) * WIDTH;
  return (
    <svg className="profile" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={s.track.speedProfile}>
      <path className="profile-area" d={area} />
      <line className="profile-now" x1={x} x2={x} y1={0} y2={HEIGHT} />
    </svg>
  );
}

function areaOf(fixes: readonly TrackFix[], from: number, to: number): string {
  const top = fixes.reduce((most, fix) => Math.max(most, fix.speed ?? 0), LEAST_TOP_MPS);
  const x = (ts: number) => (((ts - from) / (to - from)) * WIDTH).toFixed(1);
  const y = (speed: number | null) => (HEIGHT - 2 - ((speed ?? 0) / top) * (HEIGHT - 6)).toFixed(1);
  const parts: string[] = [];
  fixes.forEach((fix, index) => {
    const before = fixes[index - 1];
    const after = fixes[index + 1];
    if (before === undefined || fix.ts - before.ts > GAP_MS) parts.push(`M${x(fix.ts)} ${HEIGHT}`);
    parts.push(`L${x(fix.ts)} ${y(fix.speed)}`);
    if (after === undefined || after.ts - fix.ts > GAP_MS) parts.push(`L${x(fix.ts)} ${HEIGHT}Z`);
  });
  return parts.join("");
}
