import { call } from "./client";
import type { Role, Scope } from "./session";

interface Account {
  id: string;
  name: string;
  role: Role;
  status: "active" | "disabled";
  version: number;
  created_at: string;
}

export interface User extends Account {
  email: string;
  last_login_at: string | null;
  locked_until: string | null;
}

export interface ApiClient extends Account {
  scopes: Scope[];
  last_used_at: string | null;
}

export interface ApiKey extends ApiClient {
  expires_at: string | null;
}

export interface AuditEntry {
  id: number;
  at: string;
  actor_kind: string;
  actor_name: string;
  actor_id: string;
  action: string;
  target: string;
  before: Record<string, unknown> | null;
  after: Record<string, unknown> | null;
  request_id: string | null;
}

export const ACCOUNT_PATHS = { users: "/v1/users", clients: "/v1/clients", keys: "/v1/api-keys" } as const;
export type AccountKind = keyof typeof ACCOUNT_PATHS;

export const setStatus = (kind: AccountKind, account: Account, status: Account["status"]) =>
  call("PATCH", `${ACCOUNT_PATHS[kind]}/${encodeURIComponent(account.id)}`, {
    body: { status },
    headers: { "If-Match": `"v${account.version}"` },
  });

export const setRole = (user: User, role: Role) =>
  call("PATCH", `/v1/users/${encodeURIComponent(user.id)}`, { body: { role }, headers: { "If-Match": `"v${user.version}"` } });

/** Without a password one is made and answered, this once. */
export const addUser = (user: { email: string; name: string; role: Role; password?: string }) =>
  call<User & { password: string | null }>("POST", "/v1/users", { body: user });

export const addClient = (client: { name: string; role: Role }) =>
  call<ApiClient & { client_secret: string }>("POST", "/v1/clients", { body: client });

export const addKey = (key: { name: string; role: Role; expires_at?: string }) =>
  call<ApiKey & { key: string }>("POST", "/v1/api-keys", { body: key });

export const rotateSecret = (client: ApiClient) =>
  call<ApiClient & { client_secret: string }>("POST", `/v1/clients/${encodeURIComponent(client.id)}/secrets`, { body: {} });
