import { call, type Schemas } from "./client";
import type { Role } from "./session";

export type User = Schemas["UserBody"];
export type ApiClient = Schemas["ClientBody"];
export type ApiKey = Schemas["KeyBody"];
export type AuditEntry = Schemas["AuditBody"];
type Status = Schemas["Status"];
type Program = ApiClient | ApiKey;

const version = (account: { version: number }) => `"v${account.version}"`;

export const changeUser = (user: User, body: { role?: Role; status?: Status }) =>
  call("patch", "/v1/users/{user_id}", { path: { user_id: user.id }, body, ifMatch: version(user) });

export const setClientStatus = (client: Program, status: Status) =>
  call("patch", "/v1/clients/{client_id}", { path: { client_id: client.id }, body: { status }, ifMatch: version(client) });

export const setKeyStatus = (key: Program, status: Status) =>
  call("patch", "/v1/api-keys/{key_id}", { path: { key_id: key.id }, body: { status }, ifMatch: version(key) });

/** Without a password one is made and answered, this once. */
export const addUser = (body: { email: string; name: string; role: Role }) => call("post", "/v1/users", { body });

export const addClient = (body: { name: string; role: Role }) => call("post", "/v1/clients", { body });

export const addKey = (body: { name: string; role: Role; expires_at?: string }) => call("post", "/v1/api-keys", { body });

export const rotateSecret = (client: Program) =>
  call("post", "/v1/clients/{client_id}/secrets", { path: { client_id: client.id }, body: {} });
