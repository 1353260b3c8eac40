import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import type { FleetStore } from "../fleet/store";
import { serverNow } from "../live/clock";
import { address, call, filled, type Schemas } from "./client";

/** One position of a track: epoch ms, degrees, m/s, degrees from north. */
export interface TrackFix {
  ts: number;
  lat: number;
  lon: number;
  speed: number | null;
  heading: number | null;
}

export interface Track {
  fixes: TrackFix[];
  /** How many were received; the fixes are a choice of them that looks the same. */
  recorded: number;
}

const TRACK = "/v1/devices/{device}/track";
const MOST_POINTS = 2000;
/** Today's track grows while one looks at it. */
const TODAY_EVERY_MS = 30_000;

export function useTrack(device: string, from: number, to: number) {
  return useQuery({
    queryKey: ["device", device, "track", from],
    refetchInterval: () => (Date.now() < to ? TODAY_EVERY_MS : false),
    queryFn: async ({ signal }): Promise<Track> => {
      const query = { from: iso(from), to: iso(to), points: MOST_POINTS };
      const body = await call("get", TRACK, { path: { device }, query, signal });
      return { fixes: body.items.map((point) => ({ ...point, ts: Date.parse(point.ts) })), recorded: body.recorded };
    },
  });
}

const RECENT_MS = 10 * 60_000;
const RECENT_POINTS = 150;

/** Fetch the way a vehicle came by before this page was opened, and put it in front of its trail. */
export function useRecentTrail(fleet: FleetStore, device: string | null): void {
  useEffect(() => {
    if (device === null) return undefined;
    const abort = new AbortController();
    const query = { from: iso(serverNow() - RECENT_MS), points: RECENT_POINTS };
    call("get", TRACK, { path: { device }, query, signal: abort.signal }).then(
      ({ items }) =>
        fleet.trails.get(device)?.precede(items.map(({ ts, lat, lon }) => ({ ts: Date.parse(ts), lat, lon }))),
      // Without it the trail begins with the page; nothing a reader must act on.
      () => undefined,
    );
    return () => abort.abort();
  }, [fleet, device]);
}

/** Where a track is to be had as a file. */
export function trackFile(device: string, from: number, to: number, format: "csv" | "geojson" | "gpx"): string {
  return address(filled(TRACK, { device }), { from: iso(from), to: iso(to), format });
}

/** A signal with its last value; flags are 0 and 1. */
export type Signal = Schemas["LastValue"];

export function useSignals(device: string) {
  return useQuery({
    queryKey: ["device", device, "metrics"],
    refetchInterval: TODAY_EVERY_MS,
    queryFn: async ({ signal }) => (await call("get", "/v1/devices/{device}/metrics", { path: { device }, signal })).items,
  });
}

/** A value of a chart: one measurement (low = high = value) or a bucket of several. */
export interface Sample {
  ts: number;
  value: number;
  low: number;
  high: number;
  count: number;
}

export interface Series {
  /** Length of a bucket; null: each value by itself. */
  bucketMs: number | null;
  samples: Sample[];
  /** Texts in place of numbers. */
  texts: { ts: number; text: string }[];
}

export type Resolution = "auto" | "raw" | "1m" | "1h";

const MOST_BUCKETS = 360;
const MOST_VALUES = 4000;

/** A signal over a span. Texts have no average: they are asked for with `raw`. */
export function useSeries(device: string, name: string, from: number, to: number, bucket: Resolution) {
  return useQuery({
    queryKey: ["device", device, "metrics", name, from, to, bucket],
    placeholderData: keepPreviousData,
    queryFn: async ({ signal }): Promise<Series> => {
      const range = { from: iso(from), to: iso(to), bucket };
      const query = { ...range, ...(bucket === "raw" ? { limit: MOST_VALUES } : { points: MOST_BUCKETS }) };
      return seriesOf(await call("get", "/v1/devices/{device}/metrics/{name}", { path: { device, name }, query, signal }));
    },
  });
}

function seriesOf(body: Schemas["MetricBody"]): Series {
  const series: Series = { bucketMs: body.bucket === null ? null : body.bucket * 1000, samples: [], texts: [] };
  for (const item of body.items) {
    const ts = Date.parse(item.ts);
    if ("avg" in item) series.samples.push({ ts, value: item.avg, low: item.min, high: item.max, count: item.count });
    else if (typeof item.value === "string") series.texts.push({ ts, text: item.value });
    else series.samples.push({ ts, value: item.value, low: item.value, high: item.value, count: 1 });
  }
  return series;
}

export function iso(at: number): string {
  return new Date(at).toISOString();
}
