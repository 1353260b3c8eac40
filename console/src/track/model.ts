/** What a tracking link tells, and what of it is said. Pure. Times are epoch milliseconds, degrees WGS 84. */

export interface Place {
  lat: number;
  lon: number;
}

export interface Expected {
  eta: number;
  p10: number;
  p90: number;
  /** Of the newest position it rests on. */
  fixAt: number;
  method: string;
}

export interface Told {
  /** Not set out yet, on its way, there, or nothing more to tell. */
  state: "waiting" | "coming" | "here" | "over";
  name: string;
  timezone: string;
  at: Place;
  plannedAt: number | null;
  expected: Expected | null;
  /** Stops that come before this one. */
  before: number;
  truck: (Place & { ts: number; heading: number | null }) | null;
  expiresAt: number;
}

/** What the page is about: one of these at a time. */
export type Phase = "waiting" | "coming" | "near" | "here" | "over";

const NEAR_MS = 5 * 60_000;
/** No position for this long: the arrival time is older than people may think. */
export const AGED_MS = 90_000;

export function phaseOf(told: Told, now: number): Phase {
  if (told.state !== "coming") return told.state;
  return told.expected !== null && told.expected.eta - now <= NEAR_MS ? "near" : "coming";
}

/** How old the position is that the arrival time rests on, if that is worth a word. */
export function agedMs(told: Told, now: number): number | null {
  if (told.state !== "coming" || told.expected === null) return null;
  const age = now - told.expected.fixAt;
  return age >= AGED_MS ? age : null;
}

/** Minutes from now, never less than none: nobody waits for the past. */
export function minutesTo(at: number, now: number): number {
  return Math.max(0, Math.round((at - now) / 60_000));
}

/** Both places in a box of this size, north up, with a margin: x and y in pixels. */
export function fitted(here: Place, truck: Place, width: number, height: number, margin: number): { here: [number, number]; truck: [number, number]; metresPerPx: number } {
  const squeeze = Math.cos((here.lat * Math.PI) / 180);
  const [dx, dy] = [(truck.lon - here.lon) * squeeze, truck.lat - here.lat];
  const room = { x: Math.max(1, width - 2 * margin), y: Math.max(1, height - 2 * margin) };
  // Standing at the gate both are one place: half a kilometre of ground is shown around it.
  const span = Math.max(Math.abs(dx) / room.x, Math.abs(dy) / room.y, LEAST_SPAN_DEG / Math.min(room.x, room.y));
  const middle = { x: dx / 2, y: dy / 2 };
  const place = (x: number, y: number): [number, number] => [width / 2 + (x - middle.x) / span, height / 2 - (y - middle.y) / span];
  return { here: place(0, 0), truck: place(dx, dy), metresPerPx: span * METRES_A_DEGREE };
}

const METRES_A_DEGREE = 111_195;
const LEAST_SPAN_DEG = 500 / METRES_A_DEGREE;

/** A round length that is drawn between a quarter and half of the width. */
export function scaleBar(metresPerPx: number, width: number): { metres: number; px: number } {
  const most = (metresPerPx * width) / 3;
  const power = 10 ** Math.floor(Math.log10(most));
  const metres = [5, 2, 1].map((digit) => digit * power).find((length) => length <= most) ?? power;
  return { metres, px: metres / metresPerPx };
}
