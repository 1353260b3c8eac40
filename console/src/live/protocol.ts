/** The frames of docs/live.md that the console reads. Times are epoch milliseconds, speed m/s, heading degrees. */
export interface Fix {
  ts: number;
  lat: number;
  lon: number;
  alt?: number;
  speed?: number;
  heading?: number;
  acc?: number;
}

export interface VehicleState {
  device: string;
  status: string;
  type: string | null;
  labels: Record<string, string>;
  online: boolean | null;
  since: number | null;
  position: Fix | null;
}

export type LiveEvent =
  | { offset: number; type: "position"; data: Fix & { device: string } }
  | { offset: number; type: "presence"; data: { device: string; online: boolean; since: number } }
  | {
      offset: number;
      type: "device";
      data: { device: string; status: string; type: string | null; labels: Record<string, string> };
    };

/** An event of a channel whose vocabulary its reader knows. */
export interface ChannelEvent {
  offset: number;
  type: string;
  data: unknown;
}

export interface Place {
  epoch: string;
  offset: number;
}

export interface Subscribed<State = VehicleState> extends Place {
  type: "subscribed";
  id: string;
  recovered?: boolean;
  reason?: string;
  missed?: number;
  snapshot?: State[];
}

export interface Events<Told extends { offset: number } = LiveEvent> extends Place {
  type: "events";
  id: string;
  events: Told[];
  conflated?: boolean;
}

export type Frame =
  | { type: "ready"; tenant: string; expires_at: number | null; ping_s: number }
  | Subscribed
  | Events
  | { type: "ping"; at: number; positions: Record<string, Place> }
  | { type: "error"; code: string; detail: string; id?: string }
  | { type: "reconnect"; after_ms: number };

const KNOWN = new Set(["ready", "subscribed", "events", "ping", "error", "reconnect"]);

/** A frame, or null for a type this console does not know: new ones may come. */
export function parse(text: string): Frame | null {
  const frame = JSON.parse(text) as { type?: unknown };
  return typeof frame.type === "string" && KNOWN.has(frame.type) ? (frame as Frame) : null;
}
