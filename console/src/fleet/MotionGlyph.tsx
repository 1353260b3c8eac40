import type { Motion } from "./model";

/** The sign of a vehicle's state, told apart by shape as well as by colour: arrow, disc, ring, cross. */
export function MotionGlyph({ motion, heading }: { motion: Motion; heading?: number | undefined }) {
  const turn = motion === "moving" && heading !== undefined ? `rotate(${heading} 10 10)` : undefined;
  return (
    <svg className={`glyph ${motion}`} viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
      {motion === "moving" && <path d="M10 2l6 15-6-3.5L4 17z" transform={turn} />}
      {motion === "idle" && <circle cx="10" cy="10" r="5.5" />}
      {motion === "stale" && <circle cx="10" cy="10" r="4.7" className="hollow" />}
      {motion === "offline" && <path d="M5.5 5.5l9 9M14.5 5.5l-9 9" className="hollow" />}
    </svg>
  );
}
