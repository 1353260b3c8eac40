import { useState } from "react";
import { useDeviceChanges, type Device } from "../api/devices";
import { problemOf } from "../api/problem";
import { useLocale } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Field } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";

interface Row {
  id: number;
  name: string;
  value: string;
}

/** Type and labels of a device. A change somebody else made meanwhile is told, not overwritten. */
export function EditLabels({ device, etag, onClose }: { device: Device; etag: string | null; onClose: () => void }) {
  const { s } = useLocale();
  const { describe } = useDeviceChanges(device.id);
  const [rows, setRows] = useState<Row[]>(() => Object.entries(device.labels).map(([name, value], id) => ({ id, name, value })));
  const [isConflict, setConflict] = useState(false);
  const set = (id: number, change: Partial<Row>) => setRows(rows.map((row) => (row.id === id ? { ...row, ...change } : row)));
  const submit = async (form: FormData) => {
    const labels = Object.fromEntries(rows.filter((row) => row.name.trim() !== "").map((row) => [row.name.trim(), row.value.trim()]));
    try {
      await describe(textOf(form, "type"), labels, etag);
    } catch (error) {
      setConflict(problemOf(error).status === 412);
      throw error;
    }
  };
  return (
    <FormDialog title={s.device.editLabels} action={s.states.save} onSubmit={submit} onClose={onClose}>
      <Field label={s.device.type} name="type" defaultValue={device.type} required pattern="[A-Za-z0-9_.\-]{1,64}" autoComplete="off" />
      <ul className="label-rows" aria-label={s.device.labels}>
        {rows.map((row) => (
          <li key={row.id}>
            <input
              aria-label={s.device.labelName}
              value={row.name}
              required
              pattern="[A-Za-z0-9_.\-]{1,64}"
              onChange={(event) => set(row.id, { name: event.target.value })}
            />
            <input
              aria-label={s.device.labelValue}
              value={row.value}
              required
              maxLength={256}
              onChange={(event) => set(row.id, { value: event.target.value })}
            />
            <IconButton
              icon="close"
              label={s.device.removeLabel(row.name)}
              onClick={() => setRows(rows.filter((other) => other.id !== row.id))}
            />
          </li>
        ))}
      </ul>
      <div>
        <Button icon="plus" onClick={() => setRows([...rows, { id: Math.max(-1, ...rows.map((row) => row.id)) + 1, name: "", value: "" }])}>
          {s.device.addLabel}
        </Button>
      </div>
      {isConflict && <p className="note">{s.device.conflict}</p>}
    </FormDialog>
  );
}
