import { useQuery, useQueryClient } from "@tanstack/react-query";
import type { Doc } from "../twin/compare";
import { answer, call, type Schemas } from "./client";
import { problemOf } from "./problem";

/** What Milkrun itself knows of a device; nobody writes it. */
export const LAST_KNOWN = "$milkrun";
const AGAIN_MS = 4000;

export interface Shadow {
  desired: Doc | undefined;
  reported: Doc | undefined;
  metadata: { desired?: unknown; reported?: unknown };
  version: number;
  /** Epoch seconds: when it was answered. */
  timestamp: number;
  /** Of `$milkrun`: seconds since each part was heard. */
  ages: Record<string, number>;
}

const key = (device: string) => ["device", device, "shadows"] as const;

function shadowOf(body: Schemas["ShadowBody"]): Shadow {
  const { desired, reported } = body.state;
  return {
    desired: (desired ?? undefined) as Doc | undefined,
    reported: (reported ?? undefined) as Doc | undefined,
    metadata: body.metadata,
    version: body.version,
    timestamp: body.timestamp,
    ages: body.age_s ?? {},
  };
}

/** A shadow as it is now; null: there is none of this name. */
export async function readShadow(device: string, name: string, signal?: AbortSignal): Promise<Shadow | null> {
  const more = signal === undefined ? {} : { signal };
  try {
    const found =
      name === ""
        ? await call("get", "/v1/devices/{device}/shadow", { path: { device }, ...more })
        : await call("get", "/v1/devices/{device}/shadows/{shadow}", { path: { device, shadow: name }, ...more });
    return shadowOf(found);
  } catch (error) {
    if (problemOf(error).code === "shadow_not_found") return null;
    throw error;
  }
}

/** The classic shadow has the empty name. */
export function useShadow(device: string, name: string) {
  return useQuery({
    queryKey: [...key(device), "one", name],
    refetchInterval: AGAIN_MS,
    queryFn: ({ signal }) => readShadow(device, name, signal),
  });
}

export function useShadowNames(device: string) {
  return useQuery({
    queryKey: [...key(device), "names"],
    queryFn: async ({ signal }) =>
      (await call("get", "/v1/devices/{device}/shadows", { path: { device }, query: { limit: 1000 }, signal })).items.map((one) => one.name),
  });
}

/** Changes of a device's shadows; after each of them all are read anew. */
export function useShadowChanges(device: string) {
  const queries = useQueryClient();
  const afresh = async <T>(change: Promise<T>) => {
    try {
      return await change;
    } finally {
      await queries.invalidateQueries({ queryKey: key(device) });
    }
  };
  return {
    /** Merge `patch` into what is wished; `version` 0: whatever the version is. 409 where it is another one. */
    wish: (name: string, patch: Doc, version: number) => {
      const body = { state: { desired: patch }, ...(version > 0 ? { version } : {}) };
      return afresh(
        name === ""
          ? answer("patch", "/v1/devices/{device}/shadow", { path: { device }, body })
          : answer("patch", "/v1/devices/{device}/shadows/{shadow}", { path: { device, shadow: name }, body }),
      );
    },
    remove: (name: string) =>
      afresh(
        name === ""
          ? call("delete", "/v1/devices/{device}/shadow", { path: { device } })
          : call("delete", "/v1/devices/{device}/shadows/{shadow}", { path: { device, shadow: name } }),
      ),
  };
}
