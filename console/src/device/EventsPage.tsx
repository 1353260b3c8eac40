import { useState } from "react";
import { Link } from "wouter";
import { usePages } from "../api/page";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { DataTable, type Column } from "../ui/DataTable";
import { Field } from "../ui/Field";
import { Forbidden } from "../ui/Forbidden";
import { eventColumns, keyOfEvent, type DeviceEvent } from "./Events";

/** What the vehicles of the tenant report, newest first. */
export default function EventsPage() {
  const { s } = useLocale();
  const [type, setType] = useState("");
  const events = usePages("/v1/events", { query: { type: type === "" ? null : type } });
  if (!useMay("events:read")) return <Forbidden />;
  const columns: Column<DeviceEvent>[] = [
    {
      head: s.deadLetters.vehicle,
      cell: ({ device }) => <Link href={`/devices/${encodeURIComponent(device)}?tab=events`}>{device}</Link>,
    },
    ...eventColumns(s),
  ];
  return (
    <div className="page">
      <h1>{s.events.title}</h1>
      <p className="muted">{s.events.lead}</p>
      <form
        className="toolbar"
        onSubmit={(event) => {
          event.preventDefault();
          const typed = new FormData(event.currentTarget).get("type");
          setType(typeof typed === "string" ? typed.trim() : "");
        }}
      >
        <Field label={s.events.type} name="type" placeholder="door_opened" autoComplete="off" />
        <Button submits icon="filter">
          {s.events.filter}
        </Button>
        <Button icon="refresh" isBusy={events.isFetching && !events.isFetchingNextPage} onClick={() => void events.refetch()}>
          {s.states.refresh}
        </Button>
      </form>
      <DataTable
        label={s.events.title}
        columns={columns}
        keyOf={keyOfEvent}
        emptyTitle={s.events.empty}
        emptyHint={s.events.emptyHint}
        pages={events}
      />
    </div>
  );
}
