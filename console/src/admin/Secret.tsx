import { useLocale } from "../strings";
import { Copyable } from "../ui/Copyable";
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
