import { useState } from "react";
import { invalid, problemOf } from "../api/problem";
import { useRouteChanges, type NewRoute, type Route } from "../api/routes";
import { useAllSites, type Site } from "../api/sites";
import { useVehicles } from "../fleet/useFleet";
import { DAYS } from "../sites/model";
import { WeekdayPicker } from "../sites/SiteForm";
import { useLocale } from "../strings";
import { TruckSelect } from "../trips/PlanTrip";
import { Button, IconButton } from "../ui/Button";
import { Field, Select } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { Loading } from "../ui/states";

const MINUTE_S = 60;

interface Props {
  /** The one to change; null: a new one. */
  route: Route | null;
  etag: string | null;
  onClose: () => void;
  onSaved: (route: string) => void;
}

interface Row {
  row: number;
  site: string;
  /** Minutes as typed; "" = not said. */
  service: string;
  after: string;
  quantity: string;
}

/** A route to fill in: its stops in order, its weekdays, its start. */
export function RouteForm({ route, etag, onClose, onSaved }: Props) {
  const { s } = useLocale();
  const sites = useAllSites();
  const { vehicles } = useVehicles();
  const { add, change } = useRouteChanges();
  const [days, setDays] = useState<readonly string[]>(route?.weekdays ?? []);
  const [rows, setRows] = useState<Row[]>(() => (route?.stops ?? []).map(rowOf));
  const [isConflict, setConflict] = useState(false);
  const submit = async (form: FormData) => {
    if (rows.length === 0) throw invalid(s.routes.noStops);
    const text = (name: string) => (textOf(form, name) === "" ? null : textOf(form, name));
    const wanted: NewRoute = {
      name: textOf(form, "name"),
      code: text("code"),
      weekdays: DAYS.filter((day) => days.includes(day)),
      starts_at: text("start"),
      ...(text("timezone") === null ? {} : { timezone: textOf(form, "timezone") }),
      device: text("truck"),
      stops: rows.map(({ site, service, after, quantity }) => ({ site, service_s: seconds(service), after_s: seconds(after), quantity: numberOf(quantity) })),
    };
    try {
      const saved = route === null ? await add(wanted) : await change(route.id, wanted, etag);
      onSaved(saved.id);
    } catch (error) {
      setConflict(problemOf(error).status === 412);
      throw error;
    }
  };
  return (
    <FormDialog isWide title={route === null ? s.routes.add : s.routes.edit} action={s.states.save} onSubmit={submit} onClose={onClose}>
      <div className="columns">
        <Field label={s.routes.name} name="name" defaultValue={route?.name} required maxLength={200} autoComplete="off" />
        <Field label={s.routes.code} hint={s.routes.codeHint} name="code" defaultValue={route?.code ?? ""} pattern="[A-Za-z0-9_.\-]{1,64}" autoComplete="off" />
        <Field label={s.routes.start} name="start" type="time" defaultValue={route?.starts_at ?? ""} />
        <Field label={s.routes.timezone} hint={s.sites.timezoneHint} name="timezone" defaultValue={route?.timezone} autoComplete="off" />
        <TruckSelect label={s.routes.truck} name="truck" none={s.trips.noTruck} vehicles={vehicles.map((one) => one.device)} chosen={route?.device ?? null} />
      </div>
      <fieldset className="rows">
        <legend>{s.routes.weekdays}</legend>
        <WeekdayPicker days={days} onToggle={(day) => setDays(days.includes(day) ? days.filter((each) => each !== day) : [...days, day])} />
      </fieldset>
      {sites.isPending && <Loading />}
      <Stops rows={rows} sites={sites.data ?? []} onRows={setRows} />
      {isConflict && <p className="note">{s.routes.conflict}</p>}
    </FormDialog>
  );
}

function rowOf(stop: Route["stops"][number], row: number): Row {
  return { row, site: stop.site, service: minutes(stop.service_s), after: minutes(stop.after_s), quantity: stop.quantity === null ? "" : String(stop.quantity) };
}

function minutes(value: number | null): string {
  return value === null ? "" : String(Math.round((value / MINUTE_S) * 10) / 10);
}

function numberOf(value: string): number | null {
  return value === "" ? null : Number(value);
}

function seconds(value: string): number | null {
  return value === "" ? null : Math.round(Number(value) * MINUTE_S);
}

function Stops({ rows, sites, onRows }: { rows: Row[]; sites: readonly Site[]; onRows: (rows: Row[]) => void }) {
  const { s } = useLocale();
  const options = sites.map((site) => [site.id, site.name] as const);
  const nameOf = (row: Row) => sites.find((site) => site.id === row.site)?.name ?? "";
  const set = (row: number, change: Partial<Row>) => onRows(rows.map((each) => (each.row === row ? { ...each, ...change } : each)));
  const swap = (at: number, to: number) => {
    const next = [...rows];
    const [one, other] = [rows[at], rows[to]];
    if (one === undefined || other === undefined) return;
    // The plan's times belong to the places in the order: they never go back.
    next[at] = { ...other, after: one.after };
    next[to] = { ...one, after: other.after };
    onRows(next);
  };
  const number = (row: Row, name: "after" | "service" | "quantity", label: string) => (
    <input
      type="number"
      min={0}
      step="any"
      aria-label={label}
      title={label}
      placeholder={label}
      value={row[name]}
      onChange={(event) => set(row.row, { [name]: event.target.value })}
    />
  );
  return (
    <fieldset className="rows">
      <legend>{s.routes.stops}</legend>
      {rows.length > 0 && (
        <>
          <p className="muted small">
            {s.routes.quantity}: {s.routes.quantityHint}
          </p>
          <div className="row-fields stop-fields stop-heads muted small" aria-hidden="true">
            <span>#</span>
            {[s.trips.page.site, s.routes.afterMin, s.routes.serviceMin, s.routes.quantity].map((head) => (
              <span key={head}>{head}</span>
            ))}
          </div>
        </>
      )}
      {rows.length === 0 && <p className="muted">{s.routes.noStops}</p>}
      {rows.map((row, index) => (
        <div key={row.row} className="row-fields stop-fields" role="group" aria-label={`${index + 1}. ${nameOf(row)}`}>
          <span className="muted">{index + 1}</span>
          <Select label={s.trips.page.site} isLabelHidden value={row.site} options={options} onPick={(site) => set(row.row, { site })} />
          {number(row, "after", s.routes.afterMin)}
          {number(row, "service", s.routes.serviceMin)}
          {number(row, "quantity", s.routes.quantity)}
          <IconButton icon="up" label={s.trips.stopMoves.up(nameOf(row))} disabled={index === 0} onClick={() => swap(index, index - 1)} />
          <IconButton icon="down" label={s.trips.stopMoves.down(nameOf(row))} disabled={index === rows.length - 1} onClick={() => swap(index, index + 1)} />
          <IconButton icon="close" label={s.routes.removeStop(nameOf(row))} onClick={() => onRows(rows.filter((each) => each !== row))} />
        </div>
      ))}
      <Button
        icon="plus"
        disabled={sites.length === 0}
        onClick={() =>
          onRows([...rows, { row: Math.max(-1, ...rows.map((each) => each.row)) + 1, site: sites[0]?.id ?? "", service: "", after: "", quantity: "" }])
        }
      >
        {s.routes.addStop}
      </Button>
    </fieldset>
  );
}
