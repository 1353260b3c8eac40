import type { ChannelEvent, Events, Place, Subscribed } from "./protocol";
import { Subscription } from "./subscription";

/** Whoever reads a channel beside the fleet: `trip:{id}`, `alerts`. */
export interface Follower {
  /** All of it as it is now; also when what was missed could not be told. */
  snapshot: (items: readonly unknown[]) => void;
  events: (events: readonly ChannelEvent[]) => void;
}

interface Followed {
  log: Subscription<unknown, ChannelEvent>;
  followers: Set<Follower>;
}

/**
 * The channels that pages follow while they are open, on the line of the fleet. Each has its own place in its own log; a
 * hole in one is asked for again without the others noticing. The subscription's id is the channel's name.
 */
export class Channels {
  private readonly followed = new Map<string, Followed>();
  private readonly say: (message: object) => void;

  /** `say` sends on the line, or does nothing while there is none. */
  constructor(say: (message: object) => void) {
    this.say = say;
  }

  follow(channel: string, follower: Follower): () => void {
    // Somebody who joins needs the snapshot too, so all start from a fresh one.
    const followers = this.followed.get(channel)?.followers ?? new Set();
    followers.add(follower);
    this.followed.set(channel, { log: new Subscription(), followers });
    this.ask(channel);
    return () => {
      followers.delete(follower);
      if (followers.size > 0) return;
      this.followed.delete(channel);
      this.say({ type: "unsubscribe", id: channel });
    };
  }

  /** The line is ready: ask for everything, each from where it stood. */
  resume(): void {
    for (const channel of this.followed.keys()) this.ask(channel);
  }

  subscribed(frame: Subscribed<unknown>): void {
    const followed = this.followed.get(frame.id);
    if (followed === undefined) return;
    const outcome = followed.log.subscribed(frame);
    if (outcome.kind === "replace") for (const each of followed.followers) each.snapshot(outcome.snapshot);
    else if (outcome.kind === "broken") this.startOver(frame.id, followed);
  }

  events(frame: Events<ChannelEvent>): void {
    const followed = this.followed.get(frame.id);
    if (followed === undefined) return;
    const outcome = followed.log.events(frame);
    if (outcome.kind === "events") for (const each of followed.followers) each.events(outcome.events);
    else this.ask(frame.id);
  }

  /** What a ping says of where the server stands. */
  positions(positions: Record<string, Place>): void {
    for (const [channel, { log }] of this.followed) if (log.isBehind(positions[channel])) this.ask(channel);
  }

  private startOver(channel: string, followed: Followed): void {
    followed.log = new Subscription();
    this.ask(channel);
  }

  private ask(channel: string): void {
    this.say({ type: "subscribe", channel, id: channel, ...(this.followed.get(channel)?.log.place ?? {}) });
  }
}
