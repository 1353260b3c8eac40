import { useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, call, type Schemas } from "./client";

export type Device = Schemas["DeviceBody"];
export type Certificate = Schemas["CertificateBody"];

const key = (device: string) => ["device", device] as const;

/** The device with the ETag that a change of it must carry. */
export function useDevice(device: string) {
  return useQuery({
    queryKey: key(device),
    queryFn: ({ signal }) => answer("get", "/v1/devices/{device}", { path: { device }, signal }),
  });
}

export function useCertificates(device: string) {
  return useQuery({
    queryKey: [...key(device), "certificates"],
    queryFn: async ({ signal }) => (await call("get", "/v1/devices/{device}/certificates", { path: { device }, signal })).items,
  });
}

const MOVES = {
  activate: "/v1/devices/{device}/activate",
  suspend: "/v1/devices/{device}/suspend",
  resume: "/v1/devices/{device}/resume",
  decommission: "/v1/devices/{device}/decommission",
} as const;

export type Move = keyof typeof MOVES;

/** Changes of a device; after each of them everything of it is read anew. */
export function useDeviceChanges(device: string) {
  const queries = useQueryClient();
  const path = { device };
  const afresh = async <T>(change: Promise<T>) => {
    try {
      return await change;
    } finally {
      await queries.invalidateQueries({ queryKey: key(device) });
    }
  };
  return {
    move: (move: Move) => afresh(call("post", MOVES[move], { path })),
    revoke: (serial: string) =>
      afresh(call("post", "/v1/devices/{device}/certificates/{serial}/revoke", { path: { device, serial }, body: { reason: "unspecified" } })),
    describe: (type: string, labels: Record<string, string>, etag: string | null) =>
      afresh(call("patch", "/v1/devices/{device}", { path, body: { type, labels }, ifMatch: etag })),
  };
}
