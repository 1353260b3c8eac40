import { useState } from "react";
import { useLocale } from "../strings";
import { IconButton } from "../ui/Button";
import { Dialog } from "../ui/Dialog";

/** Values that are shown this once, each with a button that copies it. */
export function SecretDialog({ title, values, onClose }: { title: string; values: [name: string, value: string][]; onClose: () => void }) {
  const { s } = useLocale();
  return (
    <Dialog title={title} onClose={onClose}>
      <p className="note">{s.admin.secretOnce}</p>
      {values.map(([name, value]) => (
        <div key={name}>
          <p className="muted small">{name}</p>
          <Copyable value={value} />
        </div>
      ))}
    </Dialog>
  );
}

function Copyable({ value }: { value: string }) {
  const { s } = useLocale();
  const [isCopied, setCopied] = useState(false);
  const copy = () => {
    void navigator.clipboard.writeText(value).then(() => setCopied(true));
  };
  return (
    <p className="secret">
      <code>{value}</code>
      <IconButton icon="copy" label={isCopied ? s.states.copied : s.states.copy} onClick={copy} />
      <span className="sr-only" role="status">
        {isCopied ? s.states.copied : ""}
      </span>
    </p>
  );
}
