import { Link } from "wouter";
import { useMe } from "../app/session";
import { useLocale } from "../strings";
import { Empty } from "../ui/states";
import { Accounts } from "./Accounts";
import { Audit } from "./Audit";
import { adminPages, type AdminPageName } from "./pages";
import { Tenants } from "./Tenants";
import { Users } from "./Users";
import { Webhooks } from "./Webhooks";

export default function AdminPage({ page }: { page: string | undefined }) {
  const { s } = useLocale();
  const me = useMe();
  const pages = adminPages(me.scopes);
  const shown = pages.find((name) => name === page) ?? (page === undefined ? pages[0] : undefined);
  if (shown === undefined) {
    return (
      <Empty title={page !== undefined && page in s.admin.pages ? s.app.forbidden : s.app.notFound} icon="alert">
        <Link href="/" className="button primary">
          {s.app.backToMap}
        </Link>
      </Empty>
    );
  }
  return (
    <div className="page">
      <h1>{s.admin.title}</h1>
      <nav className="tabs" aria-label={s.admin.title}>
        {pages.map((name) => (
          <Link key={name} href={`/admin/${name}`} aria-current={name === shown ? "page" : undefined}>
            {s.admin.pages[name]}
          </Link>
        ))}
      </nav>
      <Shown page={shown} />
    </div>
  );
}

function Shown({ page }: { page: AdminPageName }) {
  switch (page) {
    case "users":
      return <Users />;
    case "clients":
      return <Accounts kind="clients" />;
    case "keys":
      return <Accounts kind="keys" />;
    case "webhooks":
      return <Webhooks />;
    case "audit":
      return <Audit />;
    case "tenants":
      return <Tenants />;
  }
}
