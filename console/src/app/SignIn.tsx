import { useRef, useState, type SyntheticEvent } from "react";
import { problemOf } from "../api/problem";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Field, Select } from "../ui/Field";
import { ProblemNote } from "../ui/states";
import { Brand } from "./Brand";
import { Preferences } from "./Preferences";
import { useSession } from "./session";

export function SignIn({ expired }: { expired: boolean }) {
  const { s } = useLocale();
  const { enter } = useSession();
  const form = useRef<HTMLFormElement>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [tenants, setTenants] = useState<string[]>([]);
  const [isMissing, setMissing] = useState(false);

  const submit = async (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    const field = (name: string) => {
      const value = data.get(name);
      return typeof value === "string" ? value : "";
    };
    const [email, tenant, password] = [field("email").trim(), field("tenant").trim(), field("password")];
    setMissing(email === "" || password === "");
    if (email === "" || password === "") return;
    setBusy(true);
    setError(null);
    try {
      await enter({ email, password, ...(tenant === "" ? {} : { tenant }) });
    } catch (failure) {
      setBusy(false);
      const problem = problemOf(failure);
      if (problem.code === "tenant_required") {
        setTenants(problem.errors.map((one) => one.message));
        return;
      }
      setError(failure);
      form.current?.querySelector<HTMLInputElement>("input[name=password]")?.focus();
    }
  };

  return (
    <main className="gate">
      <div className="gate-card">
        <Brand />
        <p className="muted">{s.signIn.lead}</p>
        <h1>{s.signIn.title}</h1>
        {expired && (
          <p className="note" role="status">
            {s.signIn.expired}
          </p>
        )}
        <form ref={form} onSubmit={(event) => void submit(event)} noValidate>
          <Field label={s.signIn.email} name="email" type="email" autoComplete="username" required />
          <Field label={s.signIn.password} name="password" type="password" autoComplete="current-password" required />
          {tenants.length > 0 && (
            <>
              <p className="note" role="status">
                {s.signIn.organisationHint}
              </p>
              <Select label={s.signIn.organisation} name="tenant" options={tenants.map((name) => [name, name] as const)} />
            </>
          )}
          {isMissing && (
            <p className="problem-words" role="alert">
              {s.signIn.missing}
            </p>
          )}
          {error !== null && <ProblemNote error={error} />}
          <Button kind="primary" submits isBusy={isBusy}>
            {isBusy ? s.signIn.busy : s.signIn.submit}
          </Button>
        </form>
        <Preferences />
      </div>
    </main>
  );
}
