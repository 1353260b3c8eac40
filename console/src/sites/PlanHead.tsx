import { useState, type ReactNode } from "react";
import { Link } from "wouter";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { ImportDialog } from "./ImportDialog";

interface Props {
  what: "sites" | "routes";
  mayWrite: boolean;
  /** The dialog that makes one. */
  form: (close: () => void) => ReactNode;
}

/** The head of a list of what is planned with: what it is, and the ways to make more of it. */
export function PlanHead({ what, mayWrite, form }: Props) {
  const { s } = useLocale();
  const words = s[what];
  const [dialog, setDialog] = useState<"add" | "import" | null>(null);
  const close = () => setDialog(null);
  return (
    <header className="page-head">
      <h1>{words.title}</h1>
      <p className="muted">{words.lead}</p>
      {mayWrite && (
        <div className="end">
          <Button icon="upload" onClick={() => setDialog("import")}>
            {words.import}
          </Button>
          <Button kind="primary" icon="plus" onClick={() => setDialog("add")}>
            {words.add}
          </Button>
        </div>
      )}
      {dialog === "add" && form(close)}
      {dialog === "import" && <ImportDialog what={what} onClose={close} />}
    </header>
  );
}

/** Its name, and the code that imports know it by. */
export function Named({ href, name, code }: { href: string; name: string; code: string | null }) {
  return (
    <>
      <Link href={href} className="name">
        {name}
      </Link>
      {code !== null && <p className="muted small">{code}</p>}
    </>
  );
}
