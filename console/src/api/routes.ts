import { useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, call, upload, type Schemas } from "./client";

export type Route = Schemas["RouteBody"];
export type NewRoute = Schemas["NewRoute"];

const KEY = "/v1/routes";
const ROUTE = "/v1/routes/{route}";
const MOST = 1000;

/** For names and choices: the first thousand. */
export function useRoutes() {
  return useQuery({
    queryKey: [KEY, "all"],
    staleTime: 60_000,
    queryFn: async ({ signal }) => (await call("get", KEY, { query: { limit: MOST }, signal })).items,
  });
}

export function useRoute(route: string | null) {
  return useQuery({
    queryKey: ["route", route],
    enabled: route !== null,
    queryFn: ({ signal }) => answer("get", ROUTE, { path: { route: route ?? "" }, signal }),
  });
}

export function useRouteChanges() {
  const queries = useQueryClient();
  const afresh = async <T>(change: Promise<T>) => {
    try {
      return await change;
    } finally {
      await Promise.all([queries.invalidateQueries({ queryKey: [KEY] }), queries.invalidateQueries({ queryKey: ["route"] })]);
    }
  };
  return {
    add: (route: NewRoute) => afresh(call("post", KEY, { body: route })),
    change: (id: string, route: NewRoute, etag: string | null) => afresh(call("patch", ROUTE, { path: { route: id }, body: route, ifMatch: etag })),
    archive: (id: string, etag: string | null) => afresh(call("patch", ROUTE, { path: { route: id }, body: { archived: true }, ifMatch: etag })),
    load: (file: string, type: string, isDryRun: boolean) => afresh(upload("/v1/routes/import", { dry_run: isDryRun }, type, file)),
  };
}
