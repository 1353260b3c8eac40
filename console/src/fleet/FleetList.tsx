import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, type KeyboardEvent } from "react";
import { useLocation } from "wouter";
import { useLocale } from "../strings";
import { lastSeen, motionOf, type Vehicle } from "./model";
import { MotionGlyph } from "./MotionGlyph";

const ROW_PX = 46;
const PAGE_ROWS = 10;
const optionId = (index: number) => `vehicle-option-${index}`;

interface Props {
  vehicles: readonly Vehicle[];
  now: number;
  selected: string | null;
  onSelect: (name: string) => void;
}

/** A listbox of any length: only the rows in sight exist, and the keyboard moves the selection. */
export function FleetList({ vehicles, now, selected, onSelect }: Props) {
  const { s } = useLocale();
  const [, go] = useLocation();
  const box = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: vehicles.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: 8,
  });
  const at = vehicles.findIndex((vehicle) => vehicle.device === selected);

  // A choice made on the map comes into sight here; later changes of order leave the reader where he is.
  const shown = useRef<string | null>(null);
  useEffect(() => {
    if (selected !== shown.current && at >= 0) rows.scrollToIndex(at, { align: "auto" });
    shown.current = selected;
  }, [selected, at, rows]);

  const onKeyDown = (event: KeyboardEvent) => {
    const target = nextIndex(event.key, at, vehicles.length);
    const vehicle = target === null ? undefined : vehicles[target];
    if (vehicle !== undefined) {
      event.preventDefault();
      onSelect(vehicle.device);
    } else if (event.key === "Enter" && selected !== null) {
      go(`/devices/${encodeURIComponent(selected)}`);
    }
  };

  const items = rows.getVirtualItems();
  const isRendered = items.some((item) => item.index === at);
  return (
    <div
      ref={box}
      className="fleet-list"
      role="listbox"
      aria-label={s.fleet.list}
      tabIndex={0}
      aria-activedescendant={isRendered ? optionId(at) : undefined}
      onKeyDown={onKeyDown}
    >
      <div className="fleet-rows" style={{ height: rows.getTotalSize() }}>
        {items.map((item) => {
          const vehicle = vehicles[item.index];
          if (vehicle === undefined) return null;
          return (
            <div
              key={vehicle.device}
              id={optionId(item.index)}
              role="option"
              tabIndex={-1}
              aria-selected={vehicle.device === selected}
              aria-setsize={vehicles.length}
              aria-posinset={item.index + 1}
              className="fleet-row"
              style={{ transform: `translateY(${item.start}px)` }}
              onClick={() => onSelect(vehicle.device)}
              onDoubleClick={() => go(`/devices/${encodeURIComponent(vehicle.device)}`)}
              onKeyDown={onKeyDown}
            >
              <Row vehicle={vehicle} now={now} />
            </div>
          );
        })}
      </div>
    </div>
  );
}

function nextIndex(key: string, at: number, count: number): number | null {
  const last = count - 1;
  if (last < 0) return null;
  switch (key) {
    case "ArrowDown":
      return Math.min(last, at + 1);
    case "ArrowUp":
      return Math.max(0, at - 1);
    case "PageDown":
      return Math.min(last, at + PAGE_ROWS);
    case "PageUp":
      return Math.max(0, at - PAGE_ROWS);
    case "Home":
      return 0;
    case "End":
      return last;
    default:
      return null;
  }
}

function Row({ vehicle, now }: { vehicle: Vehicle; now: number }) {
  const { s, f } = useLocale();
  const motion = motionOf(vehicle, now);
  const seen = lastSeen(vehicle);
  const labels = Object.values(vehicle.labels);
  const presence = vehicle.online === null ? "unknown" : vehicle.online ? "online" : "offline";
  return (
    <>
      <MotionGlyph motion={motion} heading={vehicle.position?.heading} />
      <span className="fleet-name">
        <span className="name">{vehicle.device}</span>
        <span className="muted small">
          {vehicle.status === "active" ? s.motion[motion] : (s.status as Record<string, string>)[vehicle.status]}
          {[vehicle.type, ...labels].filter(Boolean).map((text) => ` · ${text ?? ""}`)}
        </span>
      </span>
      <span className="fleet-figures">
        <span className="figure">{motion === "moving" ? f.speed(vehicle.position?.speed) : ""}</span>
        <span className="muted small">
          <span className={`presence ${presence}`} role="img" aria-label={s.presence[presence]} />{" "}
          {seen === null ? s.fleet.never : f.ago(Math.min(seen, now), now)}
        </span>
      </span>
    </>
  );
}
