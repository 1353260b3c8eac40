import type { Scope } from "../api/session";

/** The pages of administration and the scope each needs, in the order of the menu. */
export const ADMIN_PAGES = {
  users: "users:read",
  clients: "clients:read",
  keys: "clients:read",
  webhooks: "webhooks:read",
  audit: "audit:read",
  tenants: "tenants:read",
} as const satisfies Record<string, Scope>;

export type AdminPageName = keyof typeof ADMIN_PAGES;

export function adminPages(scopes: readonly Scope[]): AdminPageName[] {
  return (Object.keys(ADMIN_PAGES) as AdminPageName[]).filter((page) => scopes.includes(ADMIN_PAGES[page]));
}

export function firstAdminPage(scopes: readonly Scope[]): AdminPageName | null {
  return adminPages(scopes)[0] ?? null;
}
