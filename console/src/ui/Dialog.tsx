import { useEffect, useId, useRef, type ReactNode } from "react";
import { useLocale } from "../strings";
import { IconButton } from "./Button";

interface Props {
  title: string;
  isWide?: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** A modal: the browser's own dialog keeps the focus in it, gives it back, and closes on Escape. */
export function Dialog({ title, isWide = false, onClose, children }: Props) {
  const { s } = useLocale();
  const ref = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (dialog !== null && !dialog.open) dialog.showModal();
  }, []);
  return (
    <dialog ref={ref} className={isWide ? "dialog wide" : "dialog"} aria-labelledby={titleId} onClose={onClose}>
      <header className="dialog-head">
        <h2 id={titleId}>{title}</h2>
        <IconButton icon="close" label={s.states.close} onClick={onClose} />
      </header>
      <div className="dialog-body">{children}</div>
    </dialog>
  );
}
