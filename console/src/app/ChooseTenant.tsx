import { useTenants } from "../api/tenants";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { Brand } from "./Brand";
import { useSession } from "./session";

export function ChooseTenant() {
  const { s } = useLocale();
  const { chooseTenant, leave } = useSession();
  const tenants = useTenants();
  return (
    <main className="gate">
      <div className="gate-card">
        <Brand />
        <h1>{s.app.chooseTenant}</h1>
        <p className="muted">{s.app.chooseTenantHint}</p>
        {tenants.isPending && <Loading />}
        {tenants.isError && <ProblemNote error={tenants.error} onRetry={() => void tenants.refetch()} />}
        {tenants.data?.length === 0 && <Empty title={s.app.noTenants} />}
        <ul className="choices">
          {tenants.data?.map((tenant) => (
            <li key={tenant.id}>
              <button type="button" onClick={() => chooseTenant(tenant.id)}>
                {tenant.id}
              </button>
            </li>
          ))}
        </ul>
        <Button kind="quiet" onClick={() => void leave()}>
          {s.app.signOut}
        </Button>
      </div>
    </main>
  );
}
