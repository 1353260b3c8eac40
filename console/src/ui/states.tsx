import type { ReactNode } from "react";
import { problemOf, type Problem } from "../api/problem";
import { useLocale, type Strings } from "../strings";
import { Button } from "./Button";
import { Icon, type IconName } from "./Icon";

export function Loading({ label }: { label?: string }) {
  const { s } = useLocale();
  return (
    <div className="state" role="status">
      <span className="spinner" aria-hidden="true" />
      <p>{label ?? s.states.loading}</p>
    </div>
  );
}

export function Empty({ title, hint, icon = "truck", children }: { title: string; hint?: string; icon?: IconName; children?: ReactNode }) {
  return (
    <div className="state">
      <Icon name={icon} size={28} />
      <p className="state-title">{title}</p>
      {hint !== undefined && <p className="muted">{hint}</p>}
      {children}
    </div>
  );
}

/** The sentence for a refusal: by its code, else by its status. */
export function wordsFor(problem: Problem, s: Strings): string {
  return s.problems.codes[problem.code] ?? s.problems.statuses[String(problem.status)] ?? s.problems.other;
}

/** A refusal in words, with the server's own detail and the request number support will ask for. */
export function ProblemNote({ error, onRetry }: { error: unknown; onRetry?: (() => void) | undefined }) {
  const { s } = useLocale();
  const problem = problemOf(error);
  return (
    <div className="problem" role="alert">
      <Icon name="alert" size={18} />
      <div>
        <p className="problem-words">{wordsFor(problem, s)}</p>
        {problem.retryAfterS !== null && <p>{s.problems.retryIn(Math.ceil(problem.retryAfterS))}</p>}
        {problem.detail !== "" && <p className="muted">{problem.detail}</p>}
        {problem.errors.length > 0 && (
          <ul>
            {problem.errors.map((error) => (
              <li key={`${error.at} ${error.message}`}>
                {error.at !== "" && <code>{error.at}</code>} {error.message}
              </li>
            ))}
          </ul>
        )}
        {problem.requestId !== null && <p className="muted small">{s.states.requestId(problem.requestId)}</p>}
        {onRetry !== undefined && <Button onClick={onRetry}>{s.states.retry}</Button>}
      </div>
    </div>
  );
}
