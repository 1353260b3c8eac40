import { useState, type ReactNode } from "react";
import { useLocale } from "../strings";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { Field } from "./Field";
import { ProblemNote } from "./states";

interface Props {
  title: string;
  /** What will happen, in a sentence. */
  consequence: string;
  action: string;
  isDangerous?: boolean;
  /** For what cannot be undone: the name that must be typed first. */
  typedName?: string | undefined;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
  children?: ReactNode;
}

/** Asks before a change, shows the refusal if there is one, and closes when it is done. */
export function Confirm({ title, consequence, action, isDangerous = false, typedName, onConfirm, onClose, children }: Props) {
  const { s } = useLocale();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [typed, setTyped] = useState("");
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{consequence}</p>
      {children}
      {typedName !== undefined && (
        <Field label={s.identity.typeName(typedName)} value={typed} autoComplete="off" onChange={(event) => setTyped(event.target.value)} />
      )}
      {error !== null && <ProblemNote error={error} />}
      <div className="dialog-foot">
        <Button onClick={onClose}>{s.states.cancel}</Button>
        <Button
          kind={isDangerous ? "danger" : "primary"}
          isBusy={isBusy}
          disabled={typedName !== undefined && typed !== typedName}
          onClick={() => void confirm()}
        >
          {action}
        </Button>
      </div>
    </Dialog>
  );
}
