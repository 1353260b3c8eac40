import { beforeEach, describe, expect, it } from "vitest";
import { delayMs } from "./backoff";
import type { LiveEvent, VehicleState } from "./protocol";
import { Stream, type Connection, type World } from "./stream";

interface Opened {
  sent: Record<string, unknown>[];
  isClosed: boolean;
  say: (frame: object) => void;
  hangUp: (code: number) => void;
}

class FakeWorld {
  lines: Opened[] = [];
  time = 0;
  online = true;
  private timers: { at: number; action: () => void }[] = [];

  readonly world: World = {
    open: (on) => {
      const line: Opened = {
        sent: [],
        isClosed: false,
        say: (frame) => on.text(JSON.stringify(frame)),
        hangUp: (code) => on.closed(code),
      };
      this.lines.push(line);
      return {
        send: (text) => line.sent.push(JSON.parse(text) as Record<string, unknown>),
        close: () => (line.isClosed = true),
      };
    },
    now: () => this.time,
    random: () => 0.5,
    later: (ms, action) => {
      const timer = { at: this.time + ms, action };
      this.timers.push(timer);
      return () => (this.timers = this.timers.filter((other) => other !== timer));
    },
    isOnline: () => this.online,
  };

  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.time = next.at;
      next.action();
    }
    this.time = end;
  }

  get line(): Opened {
    const last = this.lines.at(-1);
    if (last === undefined) throw new Error("nothing was opened");
    return last;
  }
}

const READY = { type: "ready", tenant: "acme", expires_at: null, ping_s: 25 };
const truck = (device: string): VehicleState => ({
  device,
  status: "active",
  type: null,
  labels: {},
  online: true,
  since: 1,
  position: null,
});
const fix = (offset: number) => ({ offset, type: "position", data: { device: "a", ts: offset, lat: 1, lon: 2 } });
const frame = (offsets: number[], epoch = "e1") => ({
  type: "events",
  id: "fleet",
  channel: "vehicles",
  epoch,
  offset: offsets.at(-1),
  events: offsets.map(fix),
});

let fake: FakeWorld;
let snapshots: string[][];
let events: LiveEvent[];
let states: Connection[];
let stream: Stream;

beforeEach(() => {
  fake = new FakeWorld();
  snapshots = [];
  events = [];
  states = [];
  stream = new Stream(fake.world, {
    replace: (snapshot) => snapshots.push(snapshot.map((vehicle) => vehicle.device)),
    events: (batch) => events.push(...batch),
    connection: (state) => states.push(state),
    serverTime: () => undefined,
  });
  stream.start();
});

function goLive(): void {
  fake.line.say(READY);
  fake.line.say({ type: "subscribed", id: "fleet", channel: "vehicles", epoch: "e1", offset: 10, snapshot: [truck("a")] });
}

describe("a stream", () => {
  it("subscribes fresh once it is known, and is live with the snapshot", () => {
    goLive();
    expect(fake.line.sent).toEqual([{ type: "subscribe", channel: "vehicles", id: "fleet" }]);
    expect(snapshots).toEqual([["a"]]);
    expect(states.at(-1)).toEqual({ phase: "live", how: "fresh", missed: 0 });
  });

  it("comes back after a break with the place it had, and has every event once", () => {
    goLive();
    fake.line.say(frame([11, 12]));
    fake.line.hangUp(1006);
    expect(states.at(-1)).toEqual({ phase: "waiting", until: 250, isSlow: false });
    fake.pass(250);
    fake.line.say(READY);
    expect(fake.line.sent[0]).toMatchObject({ epoch: "e1", offset: 12 });
    fake.line.say({ type: "subscribed", id: "fleet", channel: "vehicles", epoch: "e1", offset: 12, recovered: true, missed: 2 });
    fake.line.say(frame([13, 14]));
    expect(states.at(-1)).toEqual({ phase: "live", how: "resumed", missed: 2 });
    expect(events.map((event) => event.offset)).toEqual([11, 12, 13, 14]);
    expect(snapshots).toHaveLength(1);
  });

  it("starts over from a snapshot when the log is lost", () => {
    goLive();
    fake.line.hangUp(1006);
    fake.pass(250);
    fake.line.say(READY);
    fake.line.say({
      type: "subscribed",
      id: "fleet",
      channel: "vehicles",
      epoch: "e2",
      offset: 3,
      recovered: false,
      reason: "epoch",
      snapshot: [truck("b")],
    });
    fake.line.say(frame([4], "e2"));
    expect(snapshots).toEqual([["a"], ["b"]]);
    expect(states.at(-1)).toEqual({ phase: "live", how: "snapshot", missed: 0 });
    expect(events.map((event) => event.offset)).toEqual([4]);
  });

  it("closes and resumes when an event is missing, without using what came after the hole", () => {
    goLive();
    const first = fake.line;
    first.say(frame([12]));
    expect(first.isClosed).toBe(true);
    expect(events).toEqual([]);
    fake.pass(250);
    fake.line.say(READY);
    expect(fake.line.sent[0]).toMatchObject({ epoch: "e1", offset: 10 });
  });

  it("hears nothing more of a line it has given up", () => {
    goLive();
    const first = fake.line;
    first.say(frame([12]));
    first.say(frame([11]));
    first.hangUp(1006);
    expect(events).toEqual([]);
    expect(states.filter((state) => state.phase === "waiting")).toHaveLength(1);
  });

  it("gives up a silent line after 33 seconds", () => {
    goLive();
    fake.pass(20_000);
    fake.line.say({ type: "ping", at: 1, positions: {} });
    fake.pass(32_000);
    expect(fake.line.isClosed).toBe(false);
    fake.pass(1_000);
    expect(fake.lines[0]?.isClosed).toBe(true);
  });

  it("gives up a line whose ping tells of an event that never came", () => {
    goLive();
    fake.line.say({ type: "ping", at: 1, positions: { fleet: { epoch: "e1", offset: 11 } } });
    expect(fake.line.isClosed).toBe(true);
  });

  it("waits longer with each failure, and starts anew once it was live", () => {
    const waits = [1, 2, 3, 4].map(() => {
      fake.line.hangUp(1006);
      const state = states.at(-1);
      const wait = state?.phase === "waiting" ? state.until - fake.time : -1;
      fake.pass(wait);
      return wait;
    });
    expect(waits).toEqual([250, 500, 1000, 2000]);
    goLive();
    fake.line.hangUp(1006);
    expect(states.at(-1)).toMatchObject({ phase: "waiting", until: fake.time + 250 });
  });

  it("comes back when the server says so", () => {
    goLive();
    fake.line.say({ type: "reconnect", after_ms: 4000 });
    fake.line.hangUp(1012);
    expect(states.at(-1)).toMatchObject({ phase: "waiting", until: 4250 });
  });

  it("does not come back by itself when its right was taken", () => {
    goLive();
    fake.line.hangUp(4003);
    fake.pass(120_000);
    expect(fake.lines).toHaveLength(1);
    expect(states.at(-1)).toEqual({ phase: "refused", code: 4003 });
  });

  it("waits for the network instead of trying without one, and is back at once with it", () => {
    goLive();
    fake.online = false;
    stream.networkLost();
    fake.pass(120_000);
    expect(fake.lines).toHaveLength(1);
    expect(states.at(-1)).toEqual({ phase: "offline" });
    fake.online = true;
    stream.hurry();
    expect(fake.lines).toHaveLength(2);
  });

  it("is silent once stopped", () => {
    goLive();
    stream.stop();
    fake.line.say(frame([11]));
    fake.pass(120_000);
    expect(fake.lines).toHaveLength(1);
    expect(events).toEqual([]);
  });
});

describe("the pause before a new try", () => {
  it("lies between nothing and a ceiling that doubles up to half a minute", () => {
    expect(delayMs(0, () => 0)).toBe(0);
    expect([0, 1, 5, 6, 40].map((attempt) => delayMs(attempt, () => 1))).toEqual([500, 1000, 16_000, 30_000, 30_000]);
  });
});

describe("a channel beside the fleet", () => {
  const TRIP = "trip:trip_1";
  let told: string[];
  const follower = {
    snapshot: (items: readonly unknown[]) => told.push(`snapshot ${items.length}`),
    events: (batch: readonly { offset: number; type: string }[]) => told.push(...batch.map((one) => `${one.type} ${one.offset}`)),
  };
  const subscribed = (offset: number, more: object = { snapshot: [{}] }) =>
    fake.line.say({ type: "subscribed", id: TRIP, channel: TRIP, epoch: "t1", offset, ...more });
  const arrivals = (offset: number) =>
    fake.line.say({ type: "events", id: TRIP, channel: TRIP, epoch: "t1", offset, events: [{ offset, type: "arrivals", data: {} }] });
  beforeEach(() => {
    told = [];
  });

  it("is subscribed when the line is ready, and told apart from the fleet", () => {
    stream.follow(TRIP, follower);
    expect(fake.line.sent).toEqual([]);
    goLive();
    expect(fake.line.sent.at(-1)).toEqual({ type: "subscribe", channel: TRIP, id: TRIP });
    subscribed(3);
    arrivals(4);
    expect(told).toEqual(["snapshot 1", "arrivals 4"]);
    expect(events).toEqual([]);
  });

  it("comes back from its own place after a break", () => {
    goLive();
    stream.follow(TRIP, follower);
    subscribed(3);
    arrivals(4);
    fake.line.hangUp(1006);
    fake.pass(250);
    fake.line.say(READY);
    expect(fake.line.sent.at(-1)).toEqual({ type: "subscribe", channel: TRIP, id: TRIP, epoch: "t1", offset: 4 });
  });

  it("asks again for a hole in it and leaves the fleet alone", () => {
    goLive();
    stream.follow(TRIP, follower);
    subscribed(3);
    arrivals(6);
    expect(told).toEqual(["snapshot 1"]);
    expect(fake.line.isClosed).toBe(false);
    expect(fake.line.sent.at(-1)).toEqual({ type: "subscribe", channel: TRIP, id: TRIP, epoch: "t1", offset: 3 });
  });

  it("is left when its last reader leaves, and read anew for one who joins", () => {
    goLive();
    const leave = stream.follow(TRIP, follower);
    subscribed(3);
    const leaveToo = stream.follow(TRIP, { ...follower });
    expect(fake.line.sent.at(-1)).toEqual({ type: "subscribe", channel: TRIP, id: TRIP });
    leave();
    expect(fake.line.sent.at(-1)?.type).toBe("subscribe");
    leaveToo();
    expect(fake.line.sent.at(-1)).toEqual({ type: "unsubscribe", id: TRIP });
    arrivals(4);
    expect(told).toEqual(["snapshot 1"]);
  });
});
