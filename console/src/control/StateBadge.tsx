import { useLocale } from "../strings";
import { toneOf, type State } from "./form";

export function StateBadge({ state }: { state: State }) {
  const { s } = useLocale();
  return (
    <span className={`badge command-${toneOf(state)}`} title={s.commands.stateHints[state]}>
      {s.commands.states[state]}
    </span>
  );
}
