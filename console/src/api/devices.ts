import { useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, call } from "./client";

export interface Device {
  id: string;
  thing: string;
  type: string;
  labels: Record<string, string>;
  status: "pending" | "active" | "suspended" | "decommissioned";
  version: number;
  created_at: string;
  last_seen_at: string | null;
  presence: { online: boolean; since: string | null; disconnect_reason: string | null };
  position: { ts: string; lat: number; lon: number; speed: number | null; heading: number | null } | null;
  certificate: { state: string; serial: string | null; not_after: string | null };
}

export interface Certificate {
  serial: string;
  fingerprint: string;
  status: "active" | "superseded" | "held" | "revoked";
  reason: string | null;
  not_before: string;
  not_after: string;
  overlap_ends_at: string | null;
}

export type Move = "activate" | "suspend" | "resume" | "decommission";

export const pathOf = (device: string) => `/v1/devices/${encodeURIComponent(device)}`;
const key = (device: string) => ["device", device] as const;

/** The device with the ETag that a change of it must carry. */
export function useDevice(device: string) {
  return useQuery({
    queryKey: key(device),
    queryFn: ({ signal }) => answer<Device>("GET", pathOf(device), { signal }),
  });
}

export function useCertificates(device: string) {
  return useQuery({
    queryKey: [...key(device), "certificates"],
    queryFn: async ({ signal }) => (await call<{ items: Certificate[] }>("GET", `${pathOf(device)}/certificates`, { signal })).items,
  });
}

/** Changes of a device; each of them has everything of it read anew. */
export function useDeviceChanges(device: string) {
  const queries = useQueryClient();
  const change = async (method: string, path: string, ask: { body?: unknown; headers?: Record<string, string> } = {}) => {
    try {
      await call(method, `${pathOf(device)}${path}`, ask);
    } finally {
      await queries.invalidateQueries({ queryKey: key(device) });
    }
  };
  return {
    move: (move: Move) => change("POST", `/${move}`),
    revoke: (serial: string) => change("POST", `/certificates/${encodeURIComponent(serial)}/revoke`, { body: {} }),
    describe: (type: string, labels: Record<string, string>, etag: string | null) =>
      change("PATCH", "", { body: { type, labels }, headers: etag === null ? {} : { "If-Match": etag } }),
  };
}
