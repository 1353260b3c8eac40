import { useState, type ReactNode } from "react";
import { useLocale } from "../strings";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { ProblemNote } from "./states";

interface Props {
  title: string;
  action: string;
  isWide?: boolean;
  onSubmit: (form: FormData) => Promise<unknown>;
  onClose: () => void;
  children: ReactNode;
}

/** A form in a dialog: shows the refusal if there is one, and closes when it is done. */
export function FormDialog({ title, action, isWide = false, onSubmit, onClose, children }: Props) {
  const { s } = useLocale();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const submit = async (form: FormData) => {
    setBusy(true);
    setError(null);
    try {
      await onSubmit(form);
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} isWide={isWide} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit(new FormData(event.currentTarget));
        }}
      >
        {children}
        {error !== null && <ProblemNote error={error} />}
        <div className="dialog-foot">
          <Button onClick={onClose}>{s.states.cancel}</Button>
          <Button kind="primary" submits isBusy={isBusy}>
            {action}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** The text of a form's field, "" where it is empty. */
export function textOf(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value.trim() : "";
}
