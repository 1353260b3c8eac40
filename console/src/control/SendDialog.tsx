import { useState } from "react";
import { useCommandChanges, useTemplates, type NewCommand } from "../api/commands";
import { devicesWhere } from "../api/search";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { Field, Select } from "../ui/Field";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { initial, labelsOf, read, type Fault, type Parameters, type Template } from "./form";
import { ParameterFields } from "./Parameters";

interface Props {
  /** null: to a group. */
  device: string | null;
  onSent: (id: string, isGroup: boolean) => void;
  onClose: () => void;
}

/** What was filled in and awaits the reader's word. */
interface Ready {
  template: Template;
  parameters: Parameters;
  note: string;
  expiresS: number | null;
  group: Group | null;
}

interface Group {
  target: { devices: string[] } | { labels: Record<string, string> } | { where: string };
  count: number;
  perMinute: number | null;
}

/** Sends a command from a template: fill in, look at what will happen, send. */
export function SendDialog({ device, onSent, onClose }: Props) {
  const { s } = useLocale();
  const templates = useTemplates();
  const [ready, setReady] = useState<Ready | null>(null);
  const usable = templates.data?.filter((template) => !template.deprecated) ?? [];
  return (
    <Dialog title={device === null ? s.commands.sendGroup : s.commands.sendTo(device)} onClose={onClose}>
      {templates.isPending && <Loading />}
      {templates.isError && <ProblemNote error={templates.error} onRetry={() => void templates.refetch()} />}
      {templates.isSuccess && usable.length === 0 && <Empty title={s.commands.noTemplates} hint={s.commands.noTemplatesHint} icon="list" />}
      {usable.length > 0 && (
        <div hidden={ready !== null}>
          <Fill templates={usable} isGroup={device === null} onReady={setReady} onClose={onClose} />
        </div>
      )}
      {ready !== null && <Check ready={ready} device={device} onSent={onSent} onBack={() => setReady(null)} />}
    </Dialog>
  );
}

interface FillProps {
  templates: readonly Template[];
  isGroup: boolean;
  onReady: (ready: Ready) => void;
  onClose: () => void;
}

function Fill({ templates, isGroup, onReady, onClose }: FillProps) {
  const { s } = useLocale();
  const [id, setId] = useState(templates[0]?.id ?? "");
  const [values, setValues] = useState<Record<string, Record<string, string>>>({});
  const [faults, setFaults] = useState<Record<string, Fault>>({});
  const [note, setNote] = useState("");
  const [expires, setExpires] = useState("");
  const [kind, setKind] = useState<"labels" | "where" | "devices">("labels");
  const [target, setTarget] = useState("");
  const [rate, setRate] = useState("60");
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const [isTargetBad, setTargetBad] = useState(false);
  const template = templates.find((one) => one.id === id) ?? templates[0];
  if (template === undefined) return null;
  const typed = values[template.id] ?? initial(template);
  const submit = async () => {
    const found = read(template, typed);
    setFaults(found.faults);
    const wanted = isGroup ? targetOf(kind, target) : null;
    setTargetBad(isGroup && wanted === null);
    if (Object.keys(found.faults).length > 0 || (isGroup && wanted === null)) return;
    setBusy(true);
    setError(null);
    try {
      const count = wanted === null ? 1 : await countOf(wanted);
      const group = wanted === null ? null : { target: wanted, count, perMinute: rate.trim() === "" ? null : Number(rate) };
      onReady({ template, parameters: found.parameters, note, expiresS: expires === "" ? null : Number(expires), group });
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Select
        label={s.commands.template}
        value={template.id}
        options={templates.map((one) => [one.id, one.id] as const)}
        onPick={(next) => {
          setId(next);
          setFaults({});
        }}
      />
      {template.description !== "" && <p className="muted">{template.description}</p>}
      {template.dangerous && <p className="note">{s.commands.dangerous}</p>}
      {template.needs_approval && <p className="note">{s.commands.needsApproval}</p>}
      <ParameterFields
        template={template}
        values={typed}
        faults={faults}
        onChange={(next) => setValues({ ...values, [template.id]: next })}
      />
      {isGroup && (
        <>
          <Select
            label={s.commands.group}
            value={kind}
            options={(["labels", "where", "devices"] as const).map((one) => [one, s.commands.groups[one]] as const)}
            onPick={(next) => setKind(next as typeof kind)}
          />
          <Field
            label={s.commands.groups[kind]}
            hint={isTargetBad ? s.commands.targetBad[kind] : s.commands.targetHint[kind]}
            aria-invalid={isTargetBad || undefined}
            value={target}
            autoComplete="off"
            onChange={(event) => setTarget(event.target.value)}
          />
          <Field label={s.commands.rate} hint={s.commands.rateHint} type="number" min="1" value={rate} onChange={(event) => setRate(event.target.value)} />
        </>
      )}
      <Field
        label={s.commands.expires}
        hint={s.commands.expiresHint(template.expires_s)}
        type="number"
        min="5"
        value={expires}
        onChange={(event) => setExpires(event.target.value)}
      />
      <Field label={s.commands.note} hint={s.commands.noteHint} maxLength={500} value={note} onChange={(event) => setNote(event.target.value)} />
      {error !== null && <ProblemNote error={error} />}
      <div className="dialog-foot">
        <Button onClick={onClose}>{s.states.cancel}</Button>
        <Button kind="primary" submits isBusy={isBusy}>
          {s.commands.check}
        </Button>
      </div>
    </form>
  );
}

interface CheckProps {
  ready: Ready;
  device: string | null;
  onSent: Props["onSent"];
  onBack: () => void;
}

function Check({ ready, device, onSent, onBack }: CheckProps) {
  const { s, f } = useLocale();
  const { send, sendToGroup } = useCommandChanges();
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const [name, setName] = useState("");
  const { template, parameters, group } = ready;
  // A dangerous command is confirmed by typing whom it is for, or how many.
  const typed = device ?? String(group?.count ?? 0);
  const go = async () => {
    setBusy(true);
    setError(null);
    const asked = {
      template: template.id,
      parameters: parameters as NewCommand["parameters"],
      note: ready.note,
      ...(ready.expiresS === null ? {} : { expires_s: ready.expiresS }),
    };
    try {
      if (group === null) onSent((await send({ ...asked, device: device ?? "" })).id, false);
      else onSent((await sendToGroup({ ...asked, ...group.target, rate_per_minute: group.perMinute })).id, true);
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <>
      <p>
        {group === null ? s.commands.sureOne(template.id, device ?? "") : s.commands.sureGroup(template.id, f.integer(group.count))}
        {group?.perMinute != null && ` ${s.commands.takes(f.duration((group.count / group.perMinute) * 60_000))}`}
      </p>
      <pre className="payload">{JSON.stringify(parameters, null, 2)}</pre>
      {template.needs_approval && <p className="note">{s.commands.needsApproval}</p>}
      {template.dangerous && (
        <Field label={s.identity.typeName(typed)} value={name} autoComplete="off" onChange={(event) => setName(event.target.value)} />
      )}
      {group?.count === 0 && <p className="note">{s.commands.nobody}</p>}
      {error !== null && <ProblemNote error={error} />}
      <div className="dialog-foot">
        <Button onClick={onBack}>{s.commands.back}</Button>
        <Button
          kind={template.dangerous ? "danger" : "primary"}
          isBusy={isBusy}
          disabled={(template.dangerous && name !== typed) || group?.count === 0}
          onClick={() => void go()}
        >
          {group === null ? s.commands.send : s.commands.sendMany(f.integer(group.count))}
        </Button>
      </div>
    </>
  );
}

function targetOf(kind: "labels" | "where" | "devices", text: string): Group["target"] | null {
  if (kind === "where") return text.trim() === "" ? null : { where: text.trim() };
  if (kind === "devices") {
    const devices = text.split(/[\s,]+/).filter((name) => name !== "");
    return devices.length === 0 ? null : { devices };
  }
  const labels = labelsOf(text);
  return labels === null ? null : { labels };
}

/** How many devices that is now; those out of service are left out when it is sent. */
async function countOf(target: Group["target"]): Promise<number> {
  if ("devices" in target) return new Set(target.devices).size;
  if ("where" in target) return (await devicesWhere({ where: target.where })).length;
  return (await devicesWhere({ label: Object.entries(target.labels).map(([name, value]) => `${name}:${value}`) })).length;
}
