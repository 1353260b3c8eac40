import { useDeferredValue } from "react";
import { useSearchParams } from "wouter";
import { useTemplates } from "../api/commands";
import { usePages } from "../api/page";
import { useLocale } from "../strings";
import { DataTable } from "../ui/DataTable";
import { Field, Select } from "../ui/Field";
import { commandColumns } from "./columns";
import type { State } from "./form";

const STATES: State[] = [
  "AWAITING_APPROVAL",
  "CREATED",
  "SENT",
  "DELIVERED",
  "IN_PROGRESS",
  "SUCCEEDED",
  "FAILED",
  "REJECTED",
  "TIMED_OUT",
  "EXPIRED",
  "CANCELLED",
];
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Every command of the fleet, newest first. The filters stand in the address. */
export function CommandList({ onOpen }: { onOpen: (id: string) => void }) {
  const { s } = useLocale();
  const templates = useTemplates();
  const [search, setSearch] = useSearchParams();
  const of = (name: string) => search.get(name) ?? "";
  const device = useDeferredValue(of("device"));
  const set = (name: string, value: string) =>
    setSearch(
      (now) => {
        if (value === "") now.delete(name);
        else now.set(name, value);
        return now;
      },
      { replace: true },
    );
  const asked = of("state");
  const state = STATES.find((one) => one === asked);
  const commands = usePages("/v1/commands", {
    query: {
      state: state === undefined ? null : [state],
      open: asked === "open" ? true : null,
      device: NAME.test(device) ? device : null,
      template: of("template") === "" ? null : of("template"),
      batch: of("batch") === "" ? null : of("batch"),
    },
  });
  return (
    <>
      <div className="toolbar">
        <Field label={s.commands.device} value={of("device")} autoComplete="off" onChange={(event) => set("device", event.target.value.trim())} />
        <Select
          label={s.commands.state}
          value={asked}
          options={[["", s.commands.anyState], ["open", s.commands.open], ...STATES.map((one) => [one, s.commands.states[one]] as const)]}
          onPick={(value) => set("state", value)}
        />
        <Select
          label={s.commands.template}
          value={of("template")}
          options={[["", s.commands.anyTemplate], ...(templates.data ?? []).map((one) => [one.id, one.id] as const)]}
          onPick={(value) => set("template", value)}
        />
        {of("batch") !== "" && (
          <button type="button" className="link" onClick={() => set("batch", "")}>
            {s.commands.allGroups}
          </button>
        )}
      </div>
      <DataTable
        label={s.commands.title}
        columns={commandColumns(s, onOpen, true)}
        keyOf={(command) => command.id}
        emptyTitle={s.commands.empty}
        emptyHint={s.commands.emptyHint}
        pages={commands}
      />
    </>
  );
}
