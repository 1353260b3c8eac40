/** A day of presence as a bar. Pure. Times are epoch milliseconds. */
export interface Span {
  online: boolean;
  from: number;
  /** null: it lasts. */
  to: number | null;
  reason: string | null;
}

export interface Segment {
  kind: "online" | "offline" | "unknown";
  from: number;
  to: number;
  /** Where it begins and how long it is, as shares of the day. */
  start: number;
  share: number;
  span: Span | null;
}

export interface Sum {
  onlineMs: number;
  offlineMs: number;
  /** How often the connection was lost within the day. */
  losses: number;
}

/** The spans cut to the day and to now, with what is not known between them. */
export function segments(spans: readonly Span[], day: { from: number; to: number }, now: number): Segment[] {
  const whole = day.to - day.from;
  const end = Math.min(day.to, now);
  const found: Segment[] = [];
  const add = (kind: Segment["kind"], from: number, to: number, span: Span | null) => {
    // A connection that ended at once has no length, and was there all the same.
    const isInstant = span !== null && span.from === span.to && to === from && from < day.to;
    if (to > from || isInstant) found.push({ kind, from, to, start: (from - day.from) / whole, share: (to - from) / whole, span });
  };
  let at = day.from;
  for (const span of spans) {
    const from = Math.max(span.from, day.from);
    const to = Math.min(span.to ?? end, end);
    add("unknown", at, Math.min(from, end), null);
    add(span.online ? "online" : "offline", from, to, span);
    at = Math.max(at, to);
  }
  add("unknown", at, end, null);
  return found;
}

export function sumOf(found: readonly Segment[]): Sum {
  const length = (kind: Segment["kind"]) => found.filter((each) => each.kind === kind).reduce((sum, each) => sum + each.to - each.from, 0);
  const losses = found.filter((each) => each.kind === "offline" && each.span !== null && each.span.from >= each.from).length;
  return { onlineMs: length("online"), offlineMs: length("offline"), losses };
}
