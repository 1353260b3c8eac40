import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Forbidden } from "../ui/Forbidden";
import { DeadLetters } from "./DeadLetters";

export default function DeadLettersPage() {
  const { s } = useLocale();
  if (!useMay("dead_letters:read")) return <Forbidden />;
  return (
    <div className="page">
      <h1>{s.deadLetters.title}</h1>
      <p className="muted">{s.deadLetters.lead}</p>
      <DeadLetters />
    </div>
  );
}
