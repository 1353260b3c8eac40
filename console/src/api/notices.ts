import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import type { Kind } from "../alerts/kinds";
import { useMay, useMe } from "../app/session";
import { useChannel } from "../live/LiveProvider";
import { answer, call, type Schemas } from "./client";

export type Notice = Schemas["NoticeBody"];
export type Alert = Schemas["AlertBody"];
export type MyPreferences = Schemas["RecipientBody"];
export type Follow = Schemas["SubscriptionBody"];

const NOTICES = "/v1/notices";
const PREFERENCES = "/v1/notices/preferences";
const FOLLOWS = "/v1/subscriptions";
const MOST_FOLLOWS = 1000;
const UNREAD_EVERY_MS = 60_000;
/** From an alert to the notices made of it. */
const NOTICED_AFTER_MS = 1500;

/** How many notices of one's own are unread: told anew soon after each alert. */
export function useUnread(): number {
  const queries = useQueryClient();
  const mayRead = useMay("alerts:read");
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const unread = useQuery({
    queryKey: [NOTICES, "unread"],
    enabled: mayRead,
    refetchInterval: UNREAD_EVERY_MS,
    queryFn: async ({ signal }) => (await call("get", "/v1/notices/unread", { signal })).unread,
  });
  useChannel(mayRead ? "alerts" : null, {
    snapshot: () => undefined,
    events: () => {
      timer.current ??= setTimeout(() => {
        timer.current = null;
        void queries.invalidateQueries({ queryKey: [NOTICES] });
        void queries.invalidateQueries({ queryKey: ["/v1/alerts"] });
      }, NOTICED_AFTER_MS);
    },
  });
  return unread.data ?? 0;
}

export function useNoticeChanges() {
  const queries = useQueryClient();
  const afresh = async (change: Promise<unknown>) => {
    await change;
    await queries.invalidateQueries({ queryKey: [NOTICES] });
  };
  return {
    read: (notice: string) => afresh(call("post", "/v1/notices/{notice}/read", { path: { notice } })),
    readAll: () => afresh(call("post", "/v1/notices/read", { body: {} })),
  };
}

/** An alert with its deliveries. */
export function useAlert(alert: string) {
  return useQuery({
    queryKey: ["/v1/alerts", alert],
    queryFn: ({ signal }) => call("get", "/v1/alerts/{alert}", { path: { alert }, signal }),
  });
}

export function useMyPreferences() {
  return useQuery({
    queryKey: [PREFERENCES],
    queryFn: ({ signal }) => answer("get", PREFERENCES, { signal }),
  });
}

/** The sites one follows oneself: the first thousand. */
export function useFollowing() {
  const me = useMe();
  return useQuery({
    queryKey: [FOLLOWS, me.id],
    queryFn: async ({ signal }) => (await call("get", FOLLOWS, { query: { recipient: me.id, limit: MOST_FOLLOWS }, signal })).items,
  });
}

export function usePreferenceChanges() {
  const queries = useQueryClient();
  const afresh = async (key: string, change: Promise<unknown>) => {
    try {
      await change;
    } finally {
      await queries.invalidateQueries({ queryKey: [key] });
    }
  };
  return {
    /** Everything else of `mine` stays as it is. */
    save: (mine: MyPreferences, wanted: Pick<Schemas["WishesForm"], "quiet" | "timezone">, etag: string | null) => {
      const { name, language, daily_cap, channels } = mine;
      const body = { name, language, daily_cap, channels, ...wanted } as Schemas["WishesForm"];
      return afresh(PREFERENCES, call("put", PREFERENCES, { body, ifMatch: etag }));
    },
    follow: (site: string, kinds: Kind[]) => afresh(FOLLOWS, call("post", FOLLOWS, { body: { site, kinds } })),
    refollow: (follow: Follow, kinds: Kind[]) =>
      afresh(
        FOLLOWS,
        call("patch", "/v1/subscriptions/{subscription}", { path: { subscription: follow.id }, body: { kinds }, ifMatch: `"v${follow.version}"` }),
      ),
    unfollow: (follow: Follow) => afresh(FOLLOWS, call("delete", "/v1/subscriptions/{subscription}", { path: { subscription: follow.id } })),
  };
}
