import { useQuery, useQueryClient } from "@tanstack/react-query";
import type { Kind } from "../sites/model";
import { answer, call, upload, type Schemas } from "./client";
import { usePages } from "./page";

export type Site = Schemas["SiteBody"];
export type NewSite = Schemas["NewSite"];
export type ImportReport = Schemas["ReportBody"];

const KEY = "/v1/sites";
const SITE = "/v1/sites/{site}";
const MOST = 1000;

export function useSites({ search, kind }: { search: string; kind: Kind | "" }) {
  return usePages(KEY, { query: { q: search, kind: kind === "" ? null : kind } });
}

/** For a choice: the first thousand. */
export function useAllSites(isWanted = true) {
  return useQuery({
    queryKey: [KEY, "all"],
    enabled: isWanted,
    staleTime: 60_000,
    queryFn: async ({ signal }) => (await call("get", KEY, { query: { limit: MOST }, signal })).items,
  });
}

/** The site with the ETag that a change of it must carry. */
export function useSite(site: string) {
  return useQuery({
    queryKey: ["site", site],
    queryFn: ({ signal }) => answer("get", SITE, { path: { site }, signal }),
  });
}

export function useSiteChanges() {
  const queries = useQueryClient();
  const afresh = async <T>(change: Promise<T>) => {
    try {
      return await change;
    } finally {
      await Promise.all([queries.invalidateQueries({ queryKey: [KEY] }), queries.invalidateQueries({ queryKey: ["site"] })]);
    }
  };
  return {
    add: (site: NewSite) => afresh(call("post", KEY, { body: site })),
    change: (id: string, site: NewSite, etag: string | null) => afresh(call("patch", SITE, { path: { site: id }, body: site, ifMatch: etag })),
    archive: (id: string, etag: string | null) => afresh(call("patch", SITE, { path: { site: id }, body: { archived: true }, ifMatch: etag })),
    load: (file: string, type: string, isDryRun: boolean) => afresh(upload("/v1/sites/import", { dry_run: isDryRun }, type, file)),
  };
}
