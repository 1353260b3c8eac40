import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { call, type Schemas } from "./client";

export type Accuracy = Schemas["AccuracyBody"];

export function useAccuracy(query: { from: string; to: string; route: string | null }) {
  return useQuery({
    queryKey: ["/v1/eta/accuracy", query],
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => call("get", "/v1/eta/accuracy", { query, signal }),
  });
}
