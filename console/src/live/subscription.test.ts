import { describe, expect, it } from "vitest";
import type { Events, LiveEvent, Subscribed } from "./protocol";
import { Subscription } from "./subscription";

const EPOCH = "19abf0c2d11";

const position = (offset: number): LiveEvent => ({
  offset,
  type: "position",
  data: { device: "truck-1", ts: 1000 + offset, lat: 47, lon: 9 },
});

const events = (offsets: number[], end?: number, more: Partial<Events> = {}): Events => ({
  type: "events",
  id: "fleet",
  epoch: EPOCH,
  offset: end ?? offsets.at(-1) ?? 0,
  events: offsets.map(position),
  ...more,
});

const subscribed = (offset: number, more: Partial<Subscribed> = {}): Subscribed => ({
  type: "subscribed",
  id: "fleet",
  epoch: EPOCH,
  offset,
  ...more,
});

function at(offset: number): Subscription {
  const log = new Subscription();
  log.subscribed(subscribed(offset, { snapshot: [] }));
  return log;
}

const offsetsOf = (log: Subscription, frame: Events) => {
  const outcome = log.events(frame);
  return outcome.kind === "events" ? outcome.events.map((event) => event.offset) : outcome.kind;
};

describe("a subscription", () => {
  it("starts from a fresh snapshot and lets what follows through in order", () => {
    const log = new Subscription();
    expect(log.subscribed(subscribed(5, { snapshot: [] }))).toEqual({ kind: "replace", snapshot: [], isFresh: true });
    expect(offsetsOf(log, events([6, 7]))).toEqual([6, 7]);
    expect(offsetsOf(log, events([8]))).toEqual([8]);
    expect(log.place).toEqual({ epoch: EPOCH, offset: 8 });
  });

  it("lets no event through twice", () => {
    const log = at(5);
    expect(offsetsOf(log, events([6, 7]))).toEqual([6, 7]);
    expect(offsetsOf(log, events([6, 7, 8]))).toEqual([8]);
    expect(offsetsOf(log, events([7]))).toEqual([]);
    expect(log.place?.offset).toBe(8);
  });

  it("calls a hole between frames, within a frame and at its end broken, and stays where it was", () => {
    for (const frame of [events([7]), events([6, 8]), events([6], 7)]) {
      const log = at(5);
      expect(offsetsOf(log, frame)).toBe("broken");
      expect(log.place?.offset).toBe(5);
    }
  });

  it("accepts the holes of a conflated frame and stands at its end", () => {
    const log = at(5);
    expect(offsetsOf(log, events([9, 40], 44, { conflated: true }))).toEqual([9, 40]);
    expect(log.place?.offset).toBe(44);
    expect(offsetsOf(log, events([45]))).toEqual([45]);
  });

  it("resumes where it was", () => {
    const log = at(5);
    expect(log.subscribed(subscribed(5, { recovered: true, missed: 3 }))).toEqual({ kind: "resumed", missed: 3 });
    expect(offsetsOf(log, events([6, 7, 8]))).toEqual([6, 7, 8]);
  });

  it("does not believe a resume from elsewhere", () => {
    expect(at(5).subscribed(subscribed(7, { recovered: true, missed: 0 })).kind).toBe("broken");
    expect(new Subscription().subscribed(subscribed(7, { recovered: true, missed: 0 })).kind).toBe("broken");
  });

  it("starts over from the snapshot of another epoch when it could not be resumed", () => {
    const log = at(812);
    const outcome = log.subscribed(subscribed(4, { epoch: "other", recovered: false, reason: "epoch", snapshot: [] }));
    expect(outcome).toEqual({ kind: "replace", snapshot: [], isFresh: false });
    expect(log.place).toEqual({ epoch: "other", offset: 4 });
    expect(log.events(events([5])).kind).toBe("broken");
    expect(log.events(events([5], 5, { epoch: "other" })).kind).toBe("events");
  });

  it("knows from a ping that a frame was lost", () => {
    const log = at(5);
    expect(log.isBehind({ epoch: EPOCH, offset: 5 })).toBe(false);
    expect(log.isBehind({ epoch: EPOCH, offset: 6 })).toBe(true);
    expect(log.isBehind({ epoch: "other", offset: 6 })).toBe(false);
    expect(log.isBehind(undefined)).toBe(false);
  });
});
