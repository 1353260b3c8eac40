import { useState } from "react";
import { invalid, problemOf } from "../api/problem";
import { useSiteChanges, type NewSite, type Site } from "../api/sites";
import { useLocale } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Field, Select } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { cornerLine, cornersOf, DAYS, KINDS, LEAST_CORNERS, placeOf, type Day, type Kind, type Window } from "./model";
import { PlaceMap } from "./PlaceMap";

const USUAL_RADIUS_M = 50;

interface Props {
  /** The one to change; null: a new one. */
  site: Site | null;
  etag: string | null;
  onClose: () => void;
  onSaved: (site: string) => void;
}

type Row<T> = T & { row: number };
interface Contact {
  name: string;
  email: string;
  phone: string;
}

/** A site to fill in: its place and the corners of its area are typed, or picked on the map. */
export function SiteForm({ site, etag, onClose, onSaved }: Props) {
  const { s } = useLocale();
  const { add, change } = useSiteChanges();
  const [lat, setLat] = useState(site === null ? "" : String(site.lat));
  const [lon, setLon] = useState(site === null ? "" : String(site.lon));
  const [radius, setRadius] = useState(String(site?.radius_m ?? USUAL_RADIUS_M));
  const [corners, setCorners] = useState(() => (site?.polygon ?? []).map(cornerLine).join("\n"));
  const windows = useRows<Window>((site?.windows ?? []).map(({ days, from, to }) => ({ days: [...days], from, to })));
  const contacts = useRows<Contact>((site?.contacts ?? []).map(({ name, email, phone }) => ({ name, email, phone })));
  const [isConflict, setConflict] = useState(false);
  const submit = async (form: FormData) => {
    const place = placeOf(lat, lon);
    if (place === null) throw invalid(s.sites.noPlace);
    const polygon = cornersOf(corners);
    if (polygon === null || (polygon.length > 0 && polygon.length < LEAST_CORNERS)) throw invalid(s.sites.badCorners);
    const text = (name: string) => (textOf(form, name) === "" ? null : textOf(form, name));
    const wanted: NewSite = {
      name: textOf(form, "name"),
      code: text("code"),
      kind: textOf(form, "kind") as Kind,
      ...place,
      radius_m: Number(radius),
      polygon,
      ...(text("timezone") === null ? {} : { timezone: textOf(form, "timezone") }),
      windows: windows.rows.map(({ days, from, to }) => ({ days, from, to })),
      contacts: contacts.rows.map(({ name, email, phone }) => ({ name, email, phone })),
    };
    try {
      const saved = site === null ? await add(wanted) : await change(site.id, wanted, etag);
      onSaved(saved.id);
    } catch (error) {
      setConflict(problemOf(error).status === 412);
      throw error;
    }
  };
  return (
    <FormDialog isWide title={site === null ? s.sites.add : s.sites.edit} action={s.states.save} onSubmit={submit} onClose={onClose}>
      <div className="columns">
        <Field label={s.sites.name} name="name" defaultValue={site?.name} required maxLength={200} autoComplete="off" />
        <Field label={s.sites.code} hint={s.sites.codeHint} name="code" defaultValue={site?.code ?? ""} pattern="[A-Za-z0-9_.\-]{1,64}" autoComplete="off" />
        <Select label={s.sites.kind} name="kind" defaultValue={site?.kind ?? "farm"} options={KINDS.map((kind) => [kind, s.sites.kinds[kind]] as const)} />
        <Field label={s.sites.timezone} hint={s.sites.timezoneHint} name="timezone" defaultValue={site?.timezone} autoComplete="off" />
        <Field label={s.sites.lat} inputMode="decimal" value={lat} required onChange={(event) => setLat(event.target.value)} />
        <Field label={s.sites.lon} inputMode="decimal" value={lon} required onChange={(event) => setLon(event.target.value)} />
        <Field
          label={s.sites.radiusM}
          hint={s.sites.radiusHint}
          type="number"
          min={5}
          max={5000}
          step="any"
          value={radius}
          required
          onChange={(event) => setRadius(event.target.value)}
        />
      </div>
      <PlaceMap
        lat={lat}
        lon={lon}
        radiusM={Number(radius)}
        corners={corners}
        onPlace={(pickedLat, pickedLon) => {
          setLat(pickedLat.toFixed(6));
          setLon(pickedLon.toFixed(6));
        }}
        onCorners={setCorners}
      />
      <Windows {...windows} />
      <Contacts {...contacts} />
      {isConflict && <p className="note">{s.sites.conflict}</p>}
    </FormDialog>
  );
}

interface Rows<T> {
  rows: Row<T>[];
  add: (value: T) => void;
  set: (row: number, change: Partial<T>) => void;
  drop: (row: number) => void;
}

/** A list that is filled in row by row; each row keeps its number, so that typing never lands in another. */
function useRows<T extends object>(start: T[]): Rows<T> {
  const [rows, setRows] = useState<Row<T>[]>(() => start.map((value, row) => ({ ...value, row })));
  return {
    rows,
    add: (value) => setRows((now) => [...now, { ...value, row: Math.max(-1, ...now.map((each) => each.row)) + 1 }]),
    set: (row, change) => setRows((now) => now.map((each) => (each.row === row ? { ...each, ...change } : each))),
    drop: (row) => setRows((now) => now.filter((each) => each.row !== row)),
  };
}

function Windows({ rows, add, set, drop }: Rows<Window>) {
  const { s } = useLocale();
  const toggle = (window: Row<Window>, day: Day) =>
    set(window.row, { days: DAYS.filter((each) => (each === day ? !window.days.includes(day) : window.days.includes(each))) });
  return (
    <fieldset className="rows">
      <legend>{s.sites.windows}</legend>
      {rows.map((window) => (
        <div key={window.row} className="row-fields" role="group" aria-label={s.sites.window}>
          <WeekdayPicker days={window.days} onToggle={(day) => toggle(window, day)} />
          <input type="time" aria-label={s.sites.from} required value={window.from} onChange={(event) => set(window.row, { from: event.target.value })} />
          <input type="time" aria-label={s.sites.to} required value={window.to} onChange={(event) => set(window.row, { to: event.target.value })} />
          <IconButton icon="close" label={s.sites.removeWindow} onClick={() => drop(window.row)} />
        </div>
      ))}
      <Button icon="plus" onClick={() => add({ days: [...DAYS], from: "06:00", to: "18:00" })}>
        {s.sites.addWindow}
      </Button>
    </fieldset>
  );
}

export function WeekdayPicker({ days, onToggle }: { days: readonly string[]; onToggle: (day: Day) => void }) {
  const { s } = useLocale();
  return (
    <span className="weekdays">
      {DAYS.map((day) => (
        <button key={day} type="button" className="chip" aria-pressed={days.includes(day)} aria-label={s.routes.longDays[day]} onClick={() => onToggle(day)}>
          {s.routes.days[day]}
        </button>
      ))}
    </span>
  );
}

function Contacts({ rows, add, set, drop }: Rows<Contact>) {
  const { s } = useLocale();
  const field = (contact: Row<Contact>, name: keyof Contact, label: string, type: string, isRequired = false) => (
    <input
      type={type}
      aria-label={label}
      placeholder={label}
      required={isRequired}
      autoComplete="off"
      value={contact[name]}
      onChange={(event) => set(contact.row, { [name]: event.target.value })}
    />
  );
  return (
    <fieldset className="rows">
      <legend>{s.sites.contacts}</legend>
      {rows.map((contact) => (
        <div key={contact.row} className="row-fields" role="group" aria-label={contact.name}>
          {field(contact, "name", s.sites.contactName, "text", true)}
          {field(contact, "email", s.sites.email, "email")}
          {field(contact, "phone", s.sites.phone, "tel")}
          <IconButton icon="close" label={s.sites.removeContact(contact.name)} onClick={() => drop(contact.row)} />
        </div>
      ))}
      <Button icon="plus" onClick={() => add({ name: "", email: "", phone: "" })}>
        {s.sites.addContact}
      </Button>
    </fieldset>
  );
}
