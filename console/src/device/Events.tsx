import { usePages } from "../api/page";
import type { Schemas } from "../api/client";
import { useLocale } from "../strings";
import { DataTable, type Column } from "../ui/DataTable";
import { When } from "../ui/When";

type DeviceEvent = Schemas["EventBody"];

export function Events({ device }: { device: string }) {
  const { s } = useLocale();
  const events = usePages("/v1/devices/{device}/events", { path: { device } });
  const columns: Column<DeviceEvent>[] = [
    { head: s.events.at, cell: (event) => <When at={event.ts} /> },
    { head: s.events.type, cell: (event) => <code>{event.type}</code> },
    { head: s.events.data, cell: (event) => Object.keys(event.data).length > 0 && <code>{JSON.stringify(event.data)}</code>, className: "wrap" },
  ];
  return (
    <DataTable
      label={s.events.title}
      columns={columns}
      keyOf={(event) => `${event.ts} ${event.type} ${event.received_at} ${JSON.stringify(event.data)}`}
      emptyTitle={s.events.empty}
      emptyHint={s.events.emptyHint}
      pages={events}
    />
  );
}
