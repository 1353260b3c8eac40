import { useCallback, useMemo, useSyncExternalStore } from "react";
import { useSearchParams } from "wouter";
import { useLive } from "../live/LiveProvider";
import type { Vehicle } from "./model";

/** Every vehicle by name; anew with each batch of news. */
export function useVehicles(): { vehicles: readonly Vehicle[]; isFilled: boolean } {
  const { fleet } = useLive();
  const version = useSyncExternalStore(fleet.subscribe, () => fleet.version);
  return useMemo(
    () => ({ vehicles: fleet.list(), isFilled: fleet.isFilled }),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the version is what says that the list changed
    [fleet, version],
  );
}

export function useVehicle(name: string | null): Vehicle | null {
  const { fleet } = useLive();
  return useSyncExternalStore(fleet.subscribe, () => (name === null ? null : (fleet.vehicles.get(name) ?? null)));
}

/** The vehicle that is selected, kept in the address: a reload or a link shows the same. */
export function useSelection(): [string | null, (name: string | null) => void] {
  const [search, setSearch] = useSearchParams();
  const select = useCallback(
    (name: string | null) =>
      setSearch(
        (now) => {
          if (name === null) now.delete("vehicle");
          else now.set("vehicle", name);
          return now;
        },
        { replace: true },
      ),
    [setSearch],
  );
  return [search.get("vehicle"), select];
}
