import { useQuery } from "@tanstack/react-query";
import { call } from "./client";
import type { Page } from "./page";

export interface Tenant {
  id: string;
  name: string;
  devices: number;
  created_at: string;
}

export function useTenants(isWanted: boolean) {
  return useQuery({
    queryKey: ["tenants"],
    queryFn: async ({ signal }) => (await call<Page<Tenant>>("GET", "/v1/tenants", { query: { limit: 1000 }, signal })).items,
    enabled: isWanted,
  });
}

export const addTenant = (id: string) => call<Tenant>("POST", "/v1/tenants", { body: { id } });
