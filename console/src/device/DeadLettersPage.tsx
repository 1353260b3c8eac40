import { Link } from "wouter";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Empty } from "../ui/states";
import { DeadLetters } from "./DeadLetters";

export default function DeadLettersPage() {
  const { s } = useLocale();
  if (!useMay("dead_letters:read")) {
    return (
      <Empty title={s.app.forbidden} icon="alert">
        <Link href="/" className="button primary">
          {s.app.backToMap}
        </Link>
      </Empty>
    );
  }
  return (
    <div className="page">
      <h1>{s.deadLetters.title}</h1>
      <p className="muted">{s.deadLetters.lead}</p>
      <DeadLetters />
    </div>
  );
}
