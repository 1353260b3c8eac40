import { call } from "./client";

export type Role = "operator" | "tenant_admin" | "dispatcher" | "viewer" | "integration" | "site";
export type Scope =
  | "tenants:read"
  | "tenants:write"
  | "users:read"
  | "users:write"
  | "clients:read"
  | "clients:write"
  | "audit:read"
  | "devices:read"
  | "devices:write"
  | "telemetry:read"
  | "events:read"
  | "dead_letters:read"
  | "dead_letters:write"
  | "live:read";

export interface Me {
  id: string;
  email: string;
  name: string;
  role: Role;
  tenant: string | null;
  scopes: Scope[];
  csrf: string;
}

export interface SignIn {
  email: string;
  password: string;
  tenant?: string;
}

export function readSession(): Promise<Me> {
  return call<Me>("GET", "/v1/session");
}

export function signIn(form: SignIn): Promise<Me> {
  return call<Me>("POST", "/v1/session", { body: form });
}

export function signOut(): Promise<undefined> {
  return call<undefined>("DELETE", "/v1/session");
}
