import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { call, type Schemas } from "./client";

export type MapsReport = Schemas["MapsBody"];

const KEY = "/v1/maps/report";

export function useMapsReport(query: { from: string; to: string }) {
  return useQuery({
    queryKey: [KEY, query],
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => call("get", KEY, { query, signal }),
  });
}
