import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useChannel } from "../live/LiveProvider";
import { told, type Grounds, type Told } from "../trips/arrivals";
import type { Stop, Trip } from "../trips/model";
import { answer, call, type Schemas } from "./client";

type TripBody = Schemas["TripBody"];
type StopBody = Schemas["TripStopBody"];

const KEY = "/v1/trips";
const TRIP = "/v1/trips/{trip}";
const STOP = "/v1/trips/{trip}/stops/{stop}";
/** More trips than a day of one tenant has; the page says so when there are more. */
export const MOST_TRIPS = 1000;
const LIST_EVERY_MS = 10_000;
/** A page follows its trip's channel; this is for what a channel may leave out. */
const PAGE_EVERY_MS = 60_000;

/** What is expected of a stop; null: nothing. */
type Expected = Required<Pick<Schemas["StopChange"], "service_s" | "quantity">>;

const ms = (at: string | null) => (at === null ? null : Date.parse(at));

function tripOf(body: TripBody): Trip {
  return {
    id: body.id,
    code: body.code,
    route: body.route,
    device: body.device,
    day: body.day,
    plannedStart: ms(body.planned_start),
    startedAt: ms(body.started_at),
    endedAt: ms(body.ended_at),
    reason: body.reason,
    state: body.state,
    version: body.version,
    stops: body.stops.map(stopOf),
  };
}

function stopOf(body: StopBody): Stop {
  const { eta, p10, p50, p90, method, made_at } = body;
  return {
    id: body.id,
    seq: body.seq,
    site: body.site,
    name: body.name,
    lat: body.lat,
    lon: body.lon,
    radiusM: body.radius_m,
    polygon: body.polygon,
    plannedAt: ms(body.planned_at),
    serviceS: body.service_s,
    quantity: body.quantity,
    state: body.state,
    arrivedAt: ms(body.arrived_at),
    departedAt: ms(body.departed_at),
    eta:
      eta === null || p10 === null || p50 === null || p90 === null || made_at === null
        ? null
        : { at: Date.parse(eta), p10: Date.parse(p10), p50: Date.parse(p50), p90: Date.parse(p90), method: method ?? "", madeAt: Date.parse(made_at) },
  };
}

export function useTrips(query: { day: string; site?: string }) {
  return useQuery({
    queryKey: [KEY, query],
    refetchInterval: LIST_EVERY_MS,
    placeholderData: keepPreviousData,
    queryFn: async ({ signal }) => {
      const page = await call("get", KEY, { query: { ...query, limit: MOST_TRIPS }, signal });
      return { trips: page.items.map(tripOf), isCut: page.next !== null };
    },
  });
}

const keyOf = (trip: string) => ["trip", trip] as const;

/** The trip with the ETag that a change of it must carry. */
export function useTrip(trip: string) {
  return useQuery({
    queryKey: keyOf(trip),
    refetchInterval: PAGE_EVERY_MS,
    queryFn: async ({ signal }) => {
      const { data, etag } = await answer("get", TRIP, { path: { trip }, signal });
      return { trip: tripOf(data), etag };
    },
  });
}

/** The trip with the newest arrival times at its stops, and what they rest on: read once, then told by its channel. */
export function useArrivals(trip: Trip): { trip: Trip; grounds: Grounds | null } {
  const queries = useQueryClient();
  const [news, setNews] = useState<Told | null>(null);
  const kept = useQuery({
    queryKey: [...keyOf(trip.id), "arrivals"],
    refetchInterval: PAGE_EVERY_MS,
    queryFn: async ({ signal }) => (await call("get", "/v1/trips/{trip}/arrivals", { path: { trip: trip.id }, signal })).estimate,
  });
  const reread = () => void queries.invalidateQueries({ queryKey: keyOf(trip.id) });
  useChannel(`trip:${trip.id}`, {
    snapshot: reread,
    events: (events) => {
      if (events.some((event) => event.type !== "arrivals")) reread();
      for (const event of events) {
        const next = event.data as Told;
        if (event.type === "arrivals") setNews((now) => (now === null || next.made_at >= now.made_at ? next : now));
      }
    },
  });
  return useMemo(() => told(trip, kept.data ?? null, news), [trip, kept.data, news]);
}

/** Changes of trips; after each of them everything of trips is read anew. */
export function useTripChanges() {
  const queries = useQueryClient();
  const afresh = async <T>(change: Promise<T>) => {
    try {
      return await change;
    } finally {
      await Promise.all([queries.invalidateQueries({ queryKey: [KEY] }), queries.invalidateQueries({ queryKey: ["trip"] })]);
    }
  };
  return {
    plan: (wanted: Omit<Schemas["NewTrip"], "stops">) => afresh(call("post", KEY, { body: { ...wanted, stops: [] } })),
    assign: (trip: string, device: string | null, ifMatch: string | null) =>
      afresh(call("post", "/v1/trips/{trip}/assign", { path: { trip }, body: { device }, ifMatch })),
    start: (trip: string, ifMatch: string | null) => afresh(call("post", "/v1/trips/{trip}/start", { path: { trip }, ifMatch })),
    finish: (trip: string, ifMatch: string | null) => afresh(call("post", "/v1/trips/{trip}/finish", { path: { trip }, ifMatch })),
    abandon: (trip: string, reason: string, ifMatch: string | null) =>
      afresh(call("post", "/v1/trips/{trip}/abandon", { path: { trip }, body: { reason }, ifMatch })),
    /** The stops ahead, each once, in their new order. */
    order: (trip: string, stops: string[], ifMatch: string | null) =>
      afresh(call("put", "/v1/trips/{trip}/stops/order", { path: { trip }, body: { stops }, ifMatch })),
    addStop: (trip: string, stop: { site: string } & Expected, ifMatch: string | null) =>
      afresh(call("post", "/v1/trips/{trip}/stops", { path: { trip }, body: stop, ifMatch })),
    changeStop: (trip: string, stop: string, expected: Expected, ifMatch: string | null) =>
      afresh(call("patch", STOP, { path: { trip, stop }, body: expected, ifMatch })),
    skip: (trip: string, stop: string, ifMatch: string | null) =>
      afresh(call("patch", STOP, { path: { trip, stop }, body: { state: "skipped" }, ifMatch })),
    unskip: (trip: string, stop: string, ifMatch: string | null) =>
      afresh(call("patch", STOP, { path: { trip, stop }, body: { state: "planned" }, ifMatch })),
  };
}

export const makeLink = (trip: string, stop: string) => call("post", "/v1/trips/{trip}/links", { path: { trip }, body: { stop, note: "" } });
