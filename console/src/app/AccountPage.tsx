import { useState } from "react";
import { problemOf } from "../api/problem";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Field } from "../ui/Field";
import { Figures } from "../ui/Figures";
import { ProblemNote } from "../ui/states";
import { useMe, useSession } from "./session";

const LEAST_CHARACTERS = 12;

/** Who one is here, and one's own password. */
export default function AccountPage() {
  const { s } = useLocale();
  const me = useMe();
  const { tenant } = useSession();
  const facts: [string, string][] = [
    [s.admin.name, me.name],
    [s.admin.role, s.roles[me.role]],
    ...(tenant === null ? [] : [[s.app.tenant, tenant] as [string, string]]),
  ];
  return (
    <div className="page narrow">
      <h1>{s.account.title}</h1>
      <Figures facts={facts} />
      <Password />
    </div>
  );
}

function Password() {
  const { s } = useLocale();
  const { changePassword } = useSession();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [told, setTold] = useState<"done" | "different" | null>(null);
  const submit = async (form: HTMLFormElement) => {
    const data = new FormData(form);
    setError(null);
    if (data.get("new") !== data.get("again")) {
      setTold("different");
      return;
    }
    setBusy(true);
    setTold(null);
    try {
      await changePassword({ current: passwordOf(data, "current"), new: passwordOf(data, "new") });
      form.reset();
      setTold("done");
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const isWrong = error !== null && problemOf(error).code === "login_failed";
  return (
    <section className="panel" aria-label={s.account.password}>
      <h2>{s.account.password}</h2>
      <p className="muted">{s.account.passwordHint}</p>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void submit(event.currentTarget);
        }}
      >
        <Field label={s.account.current} name="current" type="password" autoComplete="current-password" required />
        <Field
          label={s.account.next}
          hint={s.account.nextHint(LEAST_CHARACTERS)}
          name="new"
          type="password"
          autoComplete="new-password"
          minLength={LEAST_CHARACTERS}
          required
        />
        <Field label={s.account.again} name="again" type="password" autoComplete="new-password" required />
        {told === "different" && (
          <p className="problem-words" role="alert">
            {s.account.different}
          </p>
        )}
        {told === "done" && (
          <p className="note good" role="status">
            {s.account.done}
          </p>
        )}
        {isWrong && (
          <p className="problem-words" role="alert">
            {s.account.wrong}
          </p>
        )}
        {error !== null && !isWrong && <ProblemNote error={error} />}
        <div>
          <Button kind="primary" submits isBusy={isBusy}>
            {s.account.change}
          </Button>
        </div>
      </form>
    </section>
  );
}

/** As it was typed: a blank at its end belongs to a password. */
function passwordOf(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value : "";
}
