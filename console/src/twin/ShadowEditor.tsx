import { useId, useState } from "react";
import { problemOf } from "../api/problem";
import { readShadow, useShadowChanges, type Shadow } from "../api/shadows";
import { useLocale, type Strings } from "../strings";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { ProblemNote } from "../ui/states";
import { merge, patchOf, read, withValue, written, type Conflict, type Doc, type Fault } from "./compare";

interface Props {
  device: string;
  name: string;
  title: string;
  shadow: Shadow | null;
  onClose: () => void;
}

/** What the edit began from: the version it will be written over. */
interface Base {
  doc: Doc;
  version: number;
}

interface Clash {
  conflicts: Conflict[];
  theirChanges: Conflict[];
}

const ROWS = 14;

/** Edits what is wished of a vehicle as JSON. A change that others made meanwhile is shown and brought in, not overwritten. */
export function ShadowEditor({ device, name, title, shadow, onClose }: Props) {
  const { s } = useLocale();
  const { wish } = useShadowChanges(device);
  const [base, setBase] = useState<Base>(() => ({ doc: shadow?.desired ?? {}, version: shadow?.version ?? 0 }));
  const [text, setText] = useState(() => pretty(shadow?.desired ?? {}));
  const [clash, setClash] = useState<Clash | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const id = useId();
  const typed = read(text);
  const patch = "doc" in typed ? patchOf(base.doc, typed.doc) : {};
  const count = Object.keys(patch).length;

  const bringTogether = async (mine: Doc) => {
    const now = await readShadow(device, name);
    const theirs = now?.desired ?? {};
    const { merged, conflicts, theirChanges } = merge(base.doc, mine, theirs);
    setBase({ doc: theirs, version: now?.version ?? 0 });
    setText(pretty(merged));
    setClash({ conflicts, theirChanges });
  };
  const save = async () => {
    if (!("doc" in typed)) return;
    setBusy(true);
    setError(null);
    try {
      await wish(name, patch, base.version);
      onClose();
    } catch (failure) {
      if (problemOf(failure).status === 409) await bringTogether(typed.doc).catch(setError);
      else setError(failure);
      setBusy(false);
    }
  };
  const take = (conflict: Conflict, side: "mine" | "theirs") => {
    if ("doc" in typed) setText(pretty(withValue(typed.doc, conflict.path, conflict[side])));
  };
  return (
    <Dialog title={s.shadow.editTitle(title)} isWide onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <p className="muted">{s.shadow.editLead}</p>
        {clash !== null && <Clashes clash={clash} version={base.version} doc={"doc" in typed ? typed.doc : null} onTake={take} />}
        <div className="field">
          <label htmlFor={id}>{s.shadow.desired}</label>
          <textarea
            id={id}
            className="code-area"
            rows={ROWS}
            spellCheck={false}
            value={text}
            aria-invalid={"fault" in typed || undefined}
            aria-describedby={`${id}-said`}
            onChange={(event) => setText(event.target.value)}
          />
          <p id={`${id}-said`} className={"fault" in typed ? "fault small" : "muted small"} role="status">
            {"fault" in typed ? faultOf(typed.fault, s) : count === 0 ? s.shadow.noChange : s.shadow.changes(count)}
          </p>
        </div>
        {count > 0 && <pre className="payload small">{JSON.stringify(patch)}</pre>}
        {error !== null && <ProblemNote error={error} />}
        <div className="dialog-foot">
          <Button onClick={onClose}>{s.states.cancel}</Button>
          <Button kind="primary" submits isBusy={isBusy} disabled={"fault" in typed || count === 0}>
            {clash === null ? s.shadow.send : s.shadow.sendMerged}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

interface ClashProps {
  clash: Clash;
  version: number;
  doc: Doc | null;
  onTake: (conflict: Conflict, side: "mine" | "theirs") => void;
}

function Clashes({ clash, version, doc, onTake }: ClashProps) {
  const { s, f } = useLocale();
  const disputed = new Set(clash.conflicts.map((conflict) => conflict.path.join(".")));
  const quiet = clash.theirChanges.filter((change) => !disputed.has(change.path.join(".")));
  return (
    <div className="note" role="alert">
      <p>
        <strong>{s.shadow.conflict(f.integer(version))}</strong>
      </p>
      {quiet.length > 0 && (
        <>
          <p>{s.shadow.conflictMerged}</p>
          <ul className="clashes">
            {quiet.map((change) => (
              <li key={change.path.join(".")}>
                <code>{change.path.join(".")}</code> {s.shadow.fromTo(shown(change.base, s), shown(change.theirs, s))}
              </li>
            ))}
          </ul>
        </>
      )}
      {clash.conflicts.length > 0 && (
        <>
          <p>{s.shadow.conflictChoose}</p>
          <ul className="clashes">
            {clash.conflicts.map((conflict) => (
              <li key={conflict.path.join(".")}>
                <fieldset>
                  <legend>
                    <code>{conflict.path.join(".")}</code> <span className="muted">{s.shadow.was(shown(conflict.base, s))}</span>
                  </legend>
                  {(["theirs", "mine"] as const).map((side) => (
                    <label key={side} className="choice">
                      <input
                        type="radio"
                        name={conflict.path.join(".")}
                        checked={isTaken(doc, conflict, side)}
                        onChange={() => onTake(conflict, side)}
                      />
                      {s.shadow[side]}: <code>{shown(conflict[side], s)}</code>
                    </label>
                  ))}
                </fieldset>
              </li>
            ))}
          </ul>
        </>
      )}
      <p>{s.shadow.conflictAgain}</p>
    </div>
  );
}

function isTaken(doc: Doc | null, conflict: Conflict, side: "mine" | "theirs"): boolean {
  if (doc === null) return false;
  const taken = withValue(doc, conflict.path, conflict[side]);
  return Object.keys(patchOf(doc, taken)).length === 0;
}

function shown(value: Conflict["base"], s: Strings): string {
  return value === undefined ? s.shadow.absent : written(value);
}

function pretty(doc: Doc): string {
  return JSON.stringify(doc, null, 2);
}

function faultOf(fault: Fault, s: Strings): string {
  switch (fault.kind) {
    case "syntax":
      return `${s.shadow.faults.syntax} ${fault.detail}`;
    case "object":
      return s.shadow.faults.object;
    case "null":
      return s.shadow.faults.null(fault.path);
    case "depth":
      return s.shadow.faults.depth;
    case "size":
      return s.shadow.faults.size(fault.bytes);
  }
}
