import { useQuery } from "@tanstack/react-query";
import type { Span } from "../twin/day";
import { call, type Schemas } from "./client";
import { iso } from "./history";

export interface DayOfPresence {
  now: Schemas["PresenceNow"];
  spans: Span[];
}

const AGAIN_MS = 10_000;
const PAGE = 1000;
/** More than a bar can show; a device that changes oftener than this is unwell. */
const MOST_PAGES = 5;

/** Every span of a day. */
export function usePresence(device: string, from: number, to: number) {
  return useQuery({
    queryKey: ["device", device, "presence", from],
    refetchInterval: () => (Date.now() < to ? AGAIN_MS : false),
    queryFn: async ({ signal }): Promise<DayOfPresence> => {
      const spans: Span[] = [];
      let cursor: string | null = null;
      let now: Schemas["PresenceNow"] | null = null;
      for (let page = 0; page < MOST_PAGES; page += 1) {
        const query = { from: iso(from), to: iso(to), limit: PAGE, cursor };
        const body: Schemas["PresenceTimeline"] = await call("get", "/v1/devices/{device}/presence", { path: { device }, query, signal });
        now = body.now;
        spans.push(
          ...body.items.map((item) => ({
            online: item.online,
            from: Date.parse(item.from),
            to: item.to === null ? null : Date.parse(item.to),
            reason: item.reason,
          })),
        );
        cursor = body.next;
        if (cursor === null) break;
      }
      if (now === null) throw new Error("no page was asked for");
      return { now, spans };
    },
  });
}
