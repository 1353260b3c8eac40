import { lazy, Suspense, useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import { useRecentTrail } from "../api/history";
import { useMay } from "../app/session";
import { useLive } from "../live/LiveProvider";
import { useLocale } from "../strings";
import { Loading } from "../ui/states";
import { useNow } from "../ui/useNow";
import { NO_FILTER, passes, isFiltered, type Filter } from "./filter";
import { FleetPanel } from "./FleetPanel";
import { useSelection, useVehicle, useVehicles } from "./useFleet";
import { VehicleCard } from "./VehicleCard";

const FleetMap = lazy(() => import("../map/FleetMap"));
const AGE_EVERY_MS = 1000;

export function LivePage() {
  const { s } = useLocale();
  const { fleet } = useLive();
  const { vehicles, isFilled } = useVehicles();
  const now = useNow(AGE_EVERY_MS);
  const [selected, select] = useSelection();
  const vehicle = useVehicle(selected);
  const [filter, setFilter] = useState<Filter>(NO_FILTER);
  const [isFollowing, setFollowing] = useState(false);
  const [side, setSide] = useState<"map" | "list">("map");
  const search = useRef<HTMLInputElement>(null);

  useRecentTrail(fleet, useMay("telemetry:read") ? selected : null);

  const wanted = useDeferredValue(filter);
  const shown = useMemo(() => vehicles.filter((one) => passes(one, wanted, now)), [vehicles, wanted, now]);
  const visible = useMemo(
    () => (isFiltered(wanted) ? new Set(shown.map((one) => one.device)) : null),
    [shown, wanted],
  );

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/") {
        event.preventDefault();
        setSide("list");
        search.current?.focus();
      } else if (event.key === "f" && selected !== null) setFollowing((on) => !on);
      else if (event.key === "Escape" && selected !== null) select(null);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [selected, select]);

  return (
    <div className={`live side-${side}`}>
      <h1 className="sr-only">{s.app.live}</h1>
      <FleetPanel
        all={vehicles}
        shown={shown}
        isFilled={isFilled}
        now={now}
        filter={filter}
        onFilter={setFilter}
        selected={selected}
        onSelect={select}
        search={search}
      />
      <div className="map-pane">
        <Suspense fallback={<Loading />}>
          <FleetMap
            fleet={fleet}
            visible={visible}
            selected={selected}
            onSelect={select}
            isFollowing={isFollowing}
            onFollow={setFollowing}
          />
        </Suspense>
        {vehicle !== null && (
          <VehicleCard
            vehicle={vehicle}
            now={now}
            isFollowing={isFollowing}
            onFollow={setFollowing}
            onClose={() => {
              setFollowing(false);
              select(null);
            }}
          />
        )}
      </div>
      <button type="button" className="side-switch button" onClick={() => setSide(side === "map" ? "list" : "map")}>
        {side === "map" ? s.fleet.show : s.fleet.map}
      </button>
    </div>
  );
}
