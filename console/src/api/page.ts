import { useInfiniteQuery } from "@tanstack/react-query";
import { call, type Answered, type Ask, type PathWith } from "./client";

interface Page<T> {
  items: T[];
  next: string | null;
}

/** Paths that answer page after page. */
type ListPath = {
  [P in PathWith<"get">]: Answered<"get", P> extends Page<unknown> ? P : never;
}[PathWith<"get">];

type Item<P extends ListPath> = Answered<"get", P> extends Page<infer T> ? T : never;

/** A list of the API: `items` holds all pages read so far. */
export function usePages<P extends ListPath>(path: P, ask: Omit<Ask<"get", P>, "signal" | "ifMatch">) {
  const pages = useInfiniteQuery({
    queryKey: [path, ask],
    queryFn: async ({ pageParam, signal }): Promise<Page<Item<P>>> => {
      const { query } = ask as { query?: object };
      return call("get", path, { ...ask, query: { ...query, cursor: pageParam }, signal } as unknown as Ask<"get", P>);
    },
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next,
  });
  return { ...pages, items: pages.data?.pages.flatMap((page) => page.items) ?? [] };
}
