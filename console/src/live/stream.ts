import { delayMs } from "./backoff";
import { Channels, type Follower } from "./channels";
import { parse, type Frame, type LiveEvent, type VehicleState } from "./protocol";
import { Subscription, type Outcome } from "./subscription";

const SUBSCRIPTION = "fleet";
/** Longer than the server's 25 s between pings: nothing for this long means that the line is dead. */
const SILENCE_MS = 33_000;
const TOO_MANY_WAIT_MS = 30_000;
/** Close codes of docs/live.md after which coming back by oneself is of no use. */
const FINAL = new Set([4000, 4001, 4003, 4004]);
const TOO_SLOW = 4008;
const TOO_MANY = 4029;

export type Connection =
  | { phase: "connecting" }
  | { phase: "live"; how: "fresh" | "resumed" | "snapshot"; missed: number }
  | { phase: "waiting"; until: number; isSlow: boolean }
  | { phase: "offline" }
  | { phase: "refused"; code: number };

export interface Sink {
  replace: (snapshot: VehicleState[]) => void;
  events: (events: LiveEvent[]) => void;
  connection: (state: Connection) => void;
  /** The server's clock, told with each ping. */
  serverTime: (at: number) => void;
}

export interface Line {
  send: (text: string) => void;
  close: () => void;
}

/** What the stream needs of the world; a test brings its own. */
export interface World {
  open: (on: { open: () => void; text: (text: string) => void; closed: (code: number) => void }) => Line;
  now: () => number;
  random: () => number;
  later: (ms: number, action: () => void) => () => void;
  isOnline: () => boolean;
}

/**
 * One resumable subscription to the whole fleet, and the channels of the open pages beside it: connects, resumes, and
 * comes back until it is stopped.
 */
export class Stream {
  private readonly log = new Subscription();
  private line: Line | null = null;
  private attempt = 0;
  private cancelTimer: () => void = () => undefined;
  private reconnectAfterMs: number | null = null;
  private isStopped = false;
  private isReady = false;
  private readonly channels = new Channels((message) => {
    if (this.isReady) this.line?.send(JSON.stringify(message));
  });
  private readonly world: World;
  private readonly sink: Sink;

  constructor(world: World, sink: Sink) {
    this.world = world;
    this.sink = sink;
  }

  start(): void {
    this.connect();
  }

  stop(): void {
    this.isStopped = true;
    this.drop();
  }

  /** Try at once, whatever the pause: a person asked, or the network came back. */
  hurry(): void {
    if (this.isStopped || this.line !== null) return;
    this.attempt = 0;
    this.connect();
  }

  /** Read a channel until the answer is called. */
  follow(channel: string, follower: Follower): () => void {
    return this.channels.follow(channel, follower);
  }

  networkLost(): void {
    if (this.isStopped) return;
    this.drop();
    this.sink.connection({ phase: "offline" });
  }

  private connect(): void {
    this.cancelTimer();
    if (!this.world.isOnline()) {
      this.sink.connection({ phase: "offline" });
      return;
    }
    this.sink.connection({ phase: "connecting" });
    this.reconnectAfterMs = null;
    const line: Line = this.world.open({
      open: () => this.watchSilence(),
      text: (text) => {
        if (this.line === line) this.read(text);
      },
      closed: (code) => {
        if (this.line === line) this.closed(code);
      },
    });
    this.line = line;
    this.watchSilence();
  }

  private read(text: string): void {
    this.watchSilence();
    const frame = parse(text);
    if (frame !== null) this.take(frame);
  }

  private take(frame: Frame): void {
    switch (frame.type) {
      case "ready":
        this.line?.send(
          JSON.stringify({ type: "subscribe", channel: "vehicles", id: SUBSCRIPTION, ...(this.log.place ?? {}) }),
        );
        this.isReady = true;
        this.channels.resume();
        return;
      case "subscribed":
        if (frame.id !== SUBSCRIPTION) {
          this.channels.subscribed(frame);
          return;
        }
        this.attempt = 0;
        this.obey(this.log.subscribed(frame));
        return;
      case "events":
        if (frame.id !== SUBSCRIPTION) this.channels.events(frame);
        else this.obey(this.log.events(frame));
        return;
      case "ping":
        this.sink.serverTime(frame.at);
        this.channels.positions(frame.positions);
        if (this.log.isBehind(frame.positions[SUBSCRIPTION])) this.obey({ kind: "broken" });
        return;
      case "reconnect":
        this.reconnectAfterMs = frame.after_ms;
        return;
      case "error":
        return;
    }
  }

  private obey(outcome: Outcome): void {
    switch (outcome.kind) {
      case "replace":
        this.sink.replace(outcome.snapshot);
        this.sink.connection({ phase: "live", how: outcome.isFresh ? "fresh" : "snapshot", missed: 0 });
        return;
      case "resumed":
        this.sink.connection({ phase: "live", how: "resumed", missed: outcome.missed });
        return;
      case "events":
        this.sink.events(outcome.events);
        return;
      case "broken":
        this.drop();
        this.comeBack(false, null);
    }
  }

  private closed(code: number): void {
    const after = this.reconnectAfterMs;
    this.drop();
    if (FINAL.has(code)) {
      this.sink.connection({ phase: "refused", code });
      return;
    }
    this.comeBack(code === TOO_SLOW, code === TOO_MANY ? TOO_MANY_WAIT_MS : after);
  }

  private comeBack(isSlow: boolean, atLeastMs: number | null): void {
    if (this.isStopped) return;
    if (!this.world.isOnline()) {
      this.sink.connection({ phase: "offline" });
      return;
    }
    const pause = (atLeastMs ?? 0) + delayMs(this.attempt, this.world.random);
    this.attempt += 1;
    this.sink.connection({ phase: "waiting", until: this.world.now() + pause, isSlow });
    this.cancelTimer = this.world.later(pause, () => this.connect());
  }

  private watchSilence(): void {
    this.cancelTimer();
    this.cancelTimer = this.world.later(SILENCE_MS, () => {
      this.drop();
      this.comeBack(false, null);
    });
  }

  private drop(): void {
    this.cancelTimer();
    const line = this.line;
    this.line = null;
    this.isReady = false;
    line?.close();
  }
}
