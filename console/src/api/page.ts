import { useInfiniteQuery } from "@tanstack/react-query";
import { call, type Query } from "./client";

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** A list of the API, page after page: `items` holds all pages read so far. */
export function usePages<T>(path: string, query: Query = {}, isWanted = true) {
  const pages = useInfiniteQuery({
    queryKey: [path, query],
    queryFn: ({ pageParam, signal }) => call<Page<T>>("GET", path, { query: { ...query, cursor: pageParam }, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next,
    enabled: isWanted,
  });
  return { ...pages, items: pages.data?.pages.flatMap((page) => page.items) ?? [] };
}
