import { refusal, unreachable, type ApiError } from "./problem";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

type Method = "get" | "post" | "put" | "patch" | "delete";
interface Described {
  responses: object;
}

/** Paths of the API's own document (docs/openapi.json) that have this method. */
export type PathWith<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, Described> ? P : never;
}[keyof paths];

type Operation<M extends Method, P extends PathWith<M>> = paths[P] extends Record<M, infer O> ? O : never;
type Json<R> = R extends { content: { "application/json": infer B } } ? B : undefined;
export type Ok<O> = O extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 204)]> : never;
export type Answered<M extends Method, P extends PathWith<M>> = Ok<Operation<M, P>>;

type Parts<O, Where extends string> = O extends { parameters: Record<Where, infer T> } ? Record<Where, T> : unknown;
type Query<O> = O extends { parameters: { query?: infer Q } } ? { query?: { [K in keyof Q]: Q[K] | null } } : unknown;
type Body<O> = O extends { requestBody: { content: { "application/json": infer B } } } ? { body: B } : unknown;

/** What a call takes, as the document has it: path and body where there are such, the query where one wants it. */
export type Ask<M extends Method, P extends PathWith<M>> = Parts<Operation<M, P>, "path"> &
  Query<Operation<M, P>> &
  Body<Operation<M, P>> & { signal?: AbortSignal; ifMatch?: string | null };

type Values = Record<string, unknown>;

/** What the requests of this page carry: set at sign-in, read by every call. */
interface Credentials {
  csrf: string | null;
  /** The tenant an operator looks at; null for everybody who belongs to one. */
  tenant: string | null;
}

const SESSION = "/v1/session";
const credentials: Credentials = { csrf: null, tenant: null };
let onSignedOut: () => void = () => undefined;

export function setCredentials(next: Partial<Credentials>): void {
  Object.assign(credentials, next);
}

/** Called once for each answer 401 to a call made with a session. */
export function whenSignedOut(handler: () => void): void {
  onSignedOut = handler;
}

/** Path with its query, and with the operator's tenant: for links and for addresses that take no header. */
export function address(path: string, query: Values = {}): string {
  const search = searchOf({ ...query, tenant: credentials.tenant });
  return search === "" ? path : `${path}?${search}`;
}

export async function call<M extends Method, P extends PathWith<M>>(method: M, path: P, ask: Ask<M, P>): Promise<Answered<M, P>> {
  return (await answer(method, path, ask)).data;
}

/** As `call`, with the ETag of the answer for a later If-Match. */
export async function answer<M extends Method, P extends PathWith<M>>(
  method: M,
  path: P,
  ask: Ask<M, P>,
): Promise<{ data: Answered<M, P>; etag: string | null }> {
  const { path: parts = {}, query = {}, body, ifMatch, signal }: { path?: Values; query?: Values; body?: unknown; ifMatch?: string | null; signal?: AbortSignal } = ask;
  const headers = headersOf(method, path, body !== undefined);
  if (ifMatch !== null && ifMatch !== undefined) headers["If-Match"] = ifMatch;
  const search = searchOf(query);
  const response = await send(search === "" ? filled(path, parts) : `${filled(path, parts)}?${search}`, {
    method: method.toUpperCase(),
    headers,
    credentials: "same-origin",
    body: body === undefined ? null : JSON.stringify(body),
    signal: signal ?? null,
  });
  if (!response.ok) throw await refused(response, path);
  const data = (response.status === 204 ? undefined : await response.json()) as Answered<M, P>;
  return { data, etag: response.headers.get("ETag") };
}

/** A file as the body of a POST, as it is: its type says what it holds. */
export async function upload<P extends PathWith<"post">>(path: P, query: Values, type: string, body: string): Promise<Answered<"post", P>> {
  const headers = { ...headersOf("post", path, false), "Content-Type": type };
  const search = searchOf(query);
  const response = await send(search === "" ? path : `${path}?${search}`, { method: "POST", headers, credentials: "same-origin", body });
  if (!response.ok) throw await refused(response, path);
  return (await response.json()) as Answered<"post", P>;
}

async function refused(response: Response, path: string): Promise<ApiError> {
  const error = await refusal(response);
  // A wrong password, typed to change it, is no end of the session.
  if (response.status === 401 && path !== SESSION && error.problem.code !== "login_failed") onSignedOut();
  return error;
}

/** `/v1/devices/{device}` with its names filled in. */
export function filled(path: string, parts: Values): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(parts[name])));
}

function headersOf(method: Method, path: string, hasBody: boolean): Record<string, string> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (hasBody) headers["Content-Type"] = "application/json";
  if (method !== "get" && credentials.csrf !== null) headers["X-CSRF-Token"] = credentials.csrf;
  if (method === "post" && path !== SESSION) headers["Idempotency-Key"] = oneTimeKey();
  if (credentials.tenant !== null) headers["Milkrun-Tenant"] = credentials.tenant;
  return headers;
}

/** Not crypto.randomUUID: browsers have that on https and localhost alone. */
function oneTimeKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw unreachable();
  }
}

function searchOf(query: Values): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (typeof each !== "string" && typeof each !== "number" && typeof each !== "boolean") continue;
      if (each !== "") search.append(name, String(each));
    }
  }
  return search.toString();
}
