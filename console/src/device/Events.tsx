import { usePages } from "../api/page";
import type { Schemas } from "../api/client";
import { useLocale, type Strings } from "../strings";
import { DataTable, type Column } from "../ui/DataTable";
import { When } from "../ui/When";

export type DeviceEvent = Schemas["EventBody"];

export function Events({ device }: { device: string }) {
  const { s } = useLocale();
  const events = usePages("/v1/devices/{device}/events", { path: { device } });
  return (
    <DataTable
      label={s.events.title}
      columns={eventColumns(s)}
      keyOf={keyOfEvent}
      emptyTitle={s.events.empty}
      emptyHint={s.events.emptyHint}
      pages={events}
    />
  );
}

export function keyOfEvent(event: DeviceEvent): string {
  return `${event.device} ${event.ts} ${event.type} ${event.received_at} ${JSON.stringify(event.data)}`;
}

export function eventColumns(s: Strings): Column<DeviceEvent>[] {
  return [
    { head: s.events.at, cell: (event) => <When at={event.ts} /> },
    { head: s.events.type, cell: (event) => <code>{event.type}</code> },
    { head: s.events.data, cell: (event) => Object.keys(event.data).length > 0 && <code>{JSON.stringify(event.data)}</code>, className: "wrap" },
  ];
}
