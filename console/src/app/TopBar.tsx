import { Link, useLocation } from "wouter";
import { useTenants } from "../api/tenants";
import { ConnectionPill } from "../live/ConnectionPill";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Select } from "../ui/Field";
import { Menu } from "../ui/Menu";
import { useInSight } from "../ui/useInSight";
import { firstAdminPage } from "../admin/pages";
import { Bell } from "../alerts/Bell";
import { Brand } from "./Brand";
import { Preferences } from "./Preferences";
import { useMay, useMe, useSession } from "./session";

export function TopBar() {
  const { s } = useLocale();
  const me = useMe();
  const { leave, tenant } = useSession();
  const mayTrips = useMay("trips:read");
  const maySites = useMay("sites:read");
  const mayAlerts = useMay("alerts:read");
  const mayCommands = useMay("commands:read");
  const mayEvents = useMay("events:read");
  const mayDeadLetters = useMay("dead_letters:read");
  const admin = firstAdminPage(me.scopes);
  const [location] = useLocation();
  const bar = useInSight(location.split("/")[1]);
  return (
    <header className="topbar">
      <Link href="/" className="brand-link" aria-label={s.app.title}>
        <Brand />
      </Link>
      <nav ref={bar} className="nav" aria-label={s.app.nav}>
        <NavLink href="/">{s.app.live}</NavLink>
        {mayTrips && (
          <NavLink href="/trips" under={["/trips", "/routes", "/accuracy", "/maps"]}>
            {s.trips.nav}
          </NavLink>
        )}
        {maySites && (
          <NavLink href="/sites" under={["/sites"]}>
            {s.sites.nav}
          </NavLink>
        )}
        {mayCommands && (
          <NavLink href="/commands" under={["/commands"]}>
            {s.commands.title}
          </NavLink>
        )}
        {mayEvents && <NavLink href="/events">{s.events.title}</NavLink>}
        {mayDeadLetters && <NavLink href="/dead-letters">{s.app.deadLetters}</NavLink>}
        {admin !== null && (
          <NavLink href={`/admin/${admin}`} under={["/admin"]}>
            {s.app.admin}
          </NavLink>
        )}
      </nav>
      <div className="topbar-end">
        <ConnectionPill />
        {mayAlerts && <Bell />}
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
          <Link href="/account" className="button">
            {s.account.title}
          </Link>
          <Button onClick={() => void leave()}>{s.app.signOut}</Button>
        </Menu>
      </div>
    </header>
  );
}

function NavLink({ href, under, children }: { href: string; under?: string[]; children: string }) {
  const [location] = useLocation();
  const isHere = under === undefined ? location === href : under.some((start) => location.startsWith(start));
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
