import type { Events, LiveEvent, Place, Subscribed, VehicleState } from "./protocol";

/** What a frame means for whoever holds the fleet. */
export type Outcome<State = VehicleState, Told = LiveEvent> =
  /** Throw away what there is and start from the snapshot; `isFresh`: nothing was asked back. */
  | { kind: "replace"; snapshot: State[]; isFresh: boolean }
  /** All that was missed follows. */
  | { kind: "resumed"; missed: number }
  | { kind: "events"; events: Told[] }
  /** Something is missing that should be here: close and resume. */
  | { kind: "broken" };

/**
 * Where one unfiltered subscription stands in its log. Pure: frames in, outcomes out. It lets each event through once
 * and in order, and calls a hole broken unless the server says that it left out older positions (`conflated`).
 */
export class Subscription<State = VehicleState, Told extends { offset: number } = LiveEvent> {
  place: Place | null = null;

  subscribed(frame: Subscribed<State>): Outcome<State, Told> {
    const before = this.place;
    this.place = { epoch: frame.epoch, offset: frame.offset };
    if (frame.recovered === true) {
      const isWhereWeWere = before !== null && before.epoch === frame.epoch && before.offset === frame.offset;
      if (!isWhereWeWere) {
        this.place = before;
        return { kind: "broken" };
      }
      return { kind: "resumed", missed: frame.missed ?? 0 };
    }
    return { kind: "replace", snapshot: frame.snapshot ?? [], isFresh: frame.recovered === undefined };
  }

  events(frame: Events<Told>): Outcome<State, Told> {
    const at = this.place;
    if (at === null || frame.epoch !== at.epoch) return { kind: "broken" };
    const news = frame.events.filter((event) => event.offset > at.offset);
    if (frame.conflated !== true && !followsOn(at.offset, news, frame.offset)) return { kind: "broken" };
    this.place = { epoch: at.epoch, offset: Math.max(at.offset, frame.offset) };
    return { kind: "events", events: news };
  }

  /** Whether the server's place, told in a ping, is ahead: a frame was lost on the way. */
  isBehind(server: Place | undefined): boolean {
    return this.place !== null && server !== undefined && server.epoch === this.place.epoch && server.offset > this.place.offset;
  }
}

function followsOn(offset: number, news: readonly { offset: number }[], end: number): boolean {
  if (news.some((event, index) => event.offset !== offset + 1 + index)) return false;
  return end <= offset + news.length;
}
