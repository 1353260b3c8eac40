import { useState } from "react";
import { LAST_KNOWN, useShadow, useShadowChanges, useShadowNames, type Shadow } from "../api/shadows";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { Field, Select } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { useNow } from "../ui/useNow";
import { compare, written, type Leaf } from "./compare";
import { ShadowEditor } from "./ShadowEditor";

const AGE_EVERY_MS = 1000;

/** What is wished of a vehicle beside what it reports, by shadow. */
export default function ShadowView({ device }: { device: string }) {
  const { s } = useLocale();
  const mayWrite = useMay("shadows:write");
  const names = useShadowNames(device);
  const [name, setName] = useState("");
  const [asking, setAsking] = useState<"edit" | "add" | "delete" | null>(null);
  const shadow = useShadow(device, name);
  const { remove } = useShadowChanges(device);
  const isKnown = name === LAST_KNOWN;
  const choices = [...new Set([...(names.data ?? []), ...(name === "" || isKnown ? [] : [name])])].sort();
  const titles = (one: string) => (one === "" ? s.shadow.classic : one === LAST_KNOWN ? s.shadow.lastKnown : one);
  return (
    <>
      <div className="toolbar">
        <Select
          label={s.shadow.which}
          value={name}
          options={["", ...choices, LAST_KNOWN].map((one) => [one, titles(one)] as const)}
          onPick={setName}
        />
        {mayWrite && (
          <div className="row-actions end">
            <Button icon="plus" onClick={() => setAsking("add")}>
              {s.shadow.add}
            </Button>
            {!isKnown && shadow.data != null && (
              <>
                <Button kind="danger" onClick={() => setAsking("delete")}>
                  {s.shadow.remove}
                </Button>
                <Button kind="primary" icon="edit" onClick={() => setAsking("edit")}>
                  {s.shadow.edit}
                </Button>
              </>
            )}
          </div>
        )}
      </div>
      {isKnown && <p className="muted">{s.shadow.lastKnownLead}</p>}
      {shadow.isPending && <Loading />}
      {shadow.isError && <ProblemNote error={shadow.error} onRetry={() => void shadow.refetch()} />}
      {shadow.isSuccess && shadow.data === null && (
        <Empty title={s.shadow.empty} hint={s.shadow.emptyHint} icon="copy">
          {mayWrite && !isKnown && (
            <Button kind="primary" onClick={() => setAsking("edit")}>
              {s.shadow.wishFirst}
            </Button>
          )}
        </Empty>
      )}
      {shadow.isSuccess && shadow.data !== null && <Sides shadow={shadow.data} isKnown={isKnown} />}
      {asking === "edit" && shadow.isSuccess && (
        <ShadowEditor device={device} name={name} title={titles(name)} shadow={shadow.data} onClose={() => setAsking(null)} />
      )}
      {asking === "add" && (
        <FormDialog
          title={s.shadow.add}
          action={s.shadow.open}
          onSubmit={(form) => {
            setName(textOf(form, "name"));
            return Promise.resolve();
          }}
          onClose={() => setAsking(null)}
        >
          <Field label={s.shadow.name} name="name" required pattern="[a-zA-Z0-9:_\-]{1,64}" autoComplete="off" hint={s.shadow.nameHint} />
        </FormDialog>
      )}
      {asking === "delete" && (
        <Confirm
          title={s.shadow.removeQuestion(titles(name))}
          consequence={s.shadow.removeHint}
          action={s.shadow.remove}
          isDangerous
          onConfirm={() => remove(name)}
          onClose={() => setAsking(null)}
        />
      )}
    </>
  );
}

function Sides({ shadow, isKnown }: { shadow: Shadow; isKnown: boolean }) {
  const { s, f } = useLocale();
  const leaves = compare(shadow);
  const open = leaves.filter((leaf) => leaf.state === "differs").length;
  return (
    <section className="panel" aria-label={s.shadow.title}>
      {!isKnown && (
        <p className="shadow-head">
          <span className={`badge ${open === 0 ? "active" : "pending"}`}>{open === 0 ? s.shadow.inStep : s.shadow.differing(f.integer(open))}</span>
          <span className="muted">{s.shadow.version(f.integer(shadow.version))}</span>
        </p>
      )}
      {leaves.length === 0 ? <p className="muted">{s.shadow.nothing}</p> : <Leaves leaves={leaves} ages={shadow.ages} isKnown={isKnown} />}
    </section>
  );
}

function Leaves({ leaves, ages, isKnown }: { leaves: readonly Leaf[]; ages: Shadow["ages"]; isKnown: boolean }) {
  const { s } = useLocale();
  const now = useNow(AGE_EVERY_MS);
  return (
    <div className="table-wrap">
      <table className="shadow-table" aria-label={s.shadow.title}>
        <thead>
          <tr>
            <th scope="col">{s.shadow.path}</th>
            {!isKnown && <th scope="col">{s.shadow.desired}</th>}
            <th scope="col">{isKnown ? s.shadow.value : s.shadow.reported}</th>
            <th scope="col">{isKnown ? s.shadow.age : s.shadow.state}</th>
          </tr>
        </thead>
        <tbody>
          {leaves.map((leaf) => (
            <tr key={leaf.path.join("\u0000")} className={leaf.state === "differs" ? "differs" : undefined}>
              <th scope="row">
                <code>{leaf.path.join(".")}</code>
              </th>
              {!isKnown && <Side value={written(leaf.desired)} at={leaf.desiredAt} now={now} />}
              <Side value={written(leaf.reported)} at={isKnown ? null : leaf.reportedAt} now={now} />
              <td>{isKnown ? <Age seconds={ageOf(ages, leaf.path)} at={leaf.reportedAt} now={now} /> : s.shadow.states[leaf.state]}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Side({ value, at, now }: { value: string; at: number | null; now: number }) {
  const { f } = useLocale();
  return (
    <td className="wrap">
      {value === "" ? <span className="muted">–</span> : <code>{value}</code>}
      {at !== null && <span className="muted small"> {f.ago(Math.min(at * 1000, now), now)}</span>}
    </td>
  );
}

/** The age of the part that a path lies in: the longest name that is known. */
function ageOf(ages: Shadow["ages"], path: readonly string[]): number | null {
  for (let length = path.length; length > 0; length -= 1) {
    const age = ages[path.slice(0, length).join(".")];
    if (age !== undefined) return age;
  }
  return null;
}

function Age({ seconds, at, now }: { seconds: number | null; at: number | null; now: number }) {
  const { f } = useLocale();
  const ms = seconds === null ? (at === null ? null : now - at * 1000) : seconds * 1000;
  return <>{ms === null ? "–" : f.ago(now - Math.max(ms, 0), now)}</>;
}
