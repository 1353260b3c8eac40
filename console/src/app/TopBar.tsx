import { Link, useLocation } from "wouter";
import { useTenants } from "../api/tenants";
import { ConnectionPill } from "../live/ConnectionPill";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Select } from "../ui/Field";
import { Menu } from "../ui/Menu";
import { firstAdminPage } from "../admin/pages";
import { Brand } from "./Brand";
import { Preferences } from "./Preferences";
import { useMay, useMe, useSession } from "./session";

export function TopBar() {
  const { s } = useLocale();
  const me = useMe();
  const { leave, tenant } = useSession();
  const mayDeadLetters = useMay("dead_letters:read");
  const admin = firstAdminPage(me.scopes);
  return (
    <header className="topbar">
      <Link href="/" className="brand-link" aria-label={s.app.title}>
        <Brand />
      </Link>
      <nav className="nav" aria-label={s.app.nav}>
        <NavLink href="/">{s.app.live}</NavLink>
        {mayDeadLetters && <NavLink href="/dead-letters">{s.app.deadLetters}</NavLink>}
        {admin !== null && (
          <NavLink href={`/admin/${admin}`} under="/admin">
            {s.app.admin}
          </NavLink>
        )}
      </nav>
      <div className="topbar-end">
        <ConnectionPill />
        {me.tenant === null ? <TenantSwitch /> : <span className="tenant-name">{tenant}</span>}
        <Menu label={s.app.account} icon="user">
          <p className="menu-head">
            <strong>{me.name}</strong>
            <span className="muted small">
              {s.roles[me.role]}
              {tenant !== null && ` · ${tenant}`}
            </span>
          </p>
          <Preferences />
          <Button onClick={() => void leave()}>{s.app.signOut}</Button>
        </Menu>
      </div>
    </header>
  );
}

function NavLink({ href, under, children }: { href: string; under?: string; children: string }) {
  const [location] = useLocation();
  const isHere = under === undefined ? location === href : location.startsWith(under);
  return (
    <Link href={href} aria-current={isHere ? "page" : undefined}>
      {children}
    </Link>
  );
}

function TenantSwitch() {
  const { s } = useLocale();
  const { tenant, chooseTenant } = useSession();
  const [, go] = useLocation();
  const tenants = useTenants();
  const names = new Set([...(tenants.data?.map((one) => one.id) ?? []), ...(tenant === null ? [] : [tenant])]);
  return (
    <Select
      label={s.app.tenant}
      isLabelHidden
      value={tenant ?? ""}
      options={[...names].sort().map((name) => [name, name] as const)}
      onPick={(name) => {
        go("/");
        chooseTenant(name);
      }}
    />
  );
}
