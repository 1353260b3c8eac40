import { Link } from "wouter";
import { useMe } from "../app/session";
import { useLocale } from "../strings";
import { Empty } from "../ui/states";
import { Tabs } from "../ui/Tabs";
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
      <Tabs label={s.admin.title} tabs={pages.map((name) => ({ href: `/admin/${name}`, name: s.admin.pages[name], isHere: name === shown }))} />
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
