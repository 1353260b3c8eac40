import { useQuery } from "@tanstack/react-query";
import { call, type Schemas } from "./client";

export type Tenant = Schemas["TenantBody"];

const MOST_CHOICES = 1000;

/** For an operator's choice: the first thousand. */
export function useTenants() {
  return useQuery({
    queryKey: ["tenants"],
    queryFn: async ({ signal }) => (await call("get", "/v1/tenants", { query: { limit: MOST_CHOICES }, signal })).items,
  });
}

export const addTenant = (id: string) => call("post", "/v1/tenants", { body: { id } });
