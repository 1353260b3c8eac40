import { refusal, unreachable } from "./problem";

export type Query = Record<string, string | number | boolean | null | undefined | string[]>;

interface Ask {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
}

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

export function chosenTenant(): string | null {
  return credentials.tenant;
}

/** Called once for each answer 401 to a call made with a session. */
export function whenSignedOut(handler: () => void): void {
  onSignedOut = handler;
}

/** Path with its query, and with the operator's tenant: for links and for addresses that take no header. */
export function address(path: string, query: Query = {}): string {
  const search = searchOf({ ...query, tenant: credentials.tenant });
  return search === "" ? path : `${path}?${search}`;
}

export async function call<T>(method: string, path: string, ask: Ask = {}): Promise<Answer<T>["data"]> {
  return (await answer<T>(method, path, ask)).data;
}

export interface Answer<T> {
  data: T;
  /** For a later If-Match. */
  etag: string | null;
}

export async function answer<T>(method: string, path: string, ask: Ask = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { Accept: "application/json", ...ask.headers };
  if (ask.body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && credentials.csrf !== null) headers["X-CSRF-Token"] = credentials.csrf;
  if (method === "POST" && path !== SESSION) headers["Idempotency-Key"] = oneTimeKey();
  if (credentials.tenant !== null) headers["Milkrun-Tenant"] = credentials.tenant;
  const search = searchOf(ask.query ?? {});
  const response = await send(search === "" ? path : `${path}?${search}`, {
    method,
    headers,
    credentials: "same-origin",
    body: ask.body === undefined ? null : JSON.stringify(ask.body),
    signal: ask.signal ?? null,
  });
  if (!response.ok) {
    if (response.status === 401 && path !== SESSION) onSignedOut();
    throw await refusal(response);
  }
  const data = (response.status === 204 ? undefined : await response.json()) as Answer<T>["data"];
  return { data, etag: response.headers.get("ETag") };
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

function searchOf(query: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") search.append(name, String(one));
    }
  }
  return search.toString();
}
