import { useState } from "react";
import { Link, useLocation } from "wouter";
import { useRoutes, type Route } from "../api/routes";
import { useMay } from "../app/session";
import { daysWords } from "../sites/model";
import { Named, PlanHead } from "../sites/PlanHead";
import { useLocale } from "../strings";
import { TripTabs } from "../trips/TripTabs";
import { DataTable, type Column } from "../ui/DataTable";
import { Forbidden } from "../ui/Forbidden";
import { SearchField } from "../ui/SearchField";
import { RouteForm } from "./RouteForm";

export default function RoutesPage() {
  return useMay("trips:read") ? <Page /> : <Forbidden />;
}

/** The plans that trips are made from. */
function Page() {
  const { s, f } = useLocale();
  const mayWrite = useMay("trips:write");
  const [, go] = useLocation();
  const [text, setText] = useState("");
  const routes = useRoutes();
  const wanted = text.trim().toLowerCase();
  const found = (routes.data ?? []).filter(({ name, code }) => `${name} ${code ?? ""}`.toLowerCase().includes(wanted));
  const columns: Column<Route>[] = [
    {
      head: s.routes.name,
      cell: (route) => <Named href={`/routes/${route.id}`} name={route.name} code={route.code} />,
    },
    { head: s.routes.stops, cell: (route) => f.integer(route.stops.length), className: "number" },
    { head: s.routes.weekdays, cell: (route) => <Weekdays route={route} /> },
    { head: s.routes.start, cell: (route) => route.starts_at ?? "–" },
    {
      head: s.routes.truck,
      cell: (route) => (route.device === null ? "–" : <Link href={`/devices/${encodeURIComponent(route.device)}`}>{route.device}</Link>),
    },
  ];
  return (
    <div className="page wide">
      <TripTabs here="routes" />
      <PlanHead what="routes" mayWrite={mayWrite} form={(close) => <RouteForm route={null} etag={null} onClose={close} onSaved={(route) => go(`/routes/${route}`)} />} />
      <div className="toolbar">
        <SearchField label={s.routes.search} value={text} onText={setText} />
      </div>
      <DataTable
        label={s.routes.title}
        columns={columns}
        keyOf={(route) => route.id}
        emptyTitle={wanted === "" ? s.routes.empty : s.trips.noMatch}
        {...(wanted === "" ? { emptyHint: s.routes.emptyHint } : {})}
        pages={{ ...routes, items: found, hasNextPage: false, isFetchingNextPage: false, fetchNextPage: () => undefined }}
      />
    </div>
  );
}

export function Weekdays({ route }: { route: Route }) {
  const { s } = useLocale();
  if (route.weekdays.length === 0) return <span className="muted">{s.routes.noDays}</span>;
  return <>{route.weekdays.length === 7 ? s.sites.everyDay : daysWords(route.weekdays, s.routes.days)}</>;
}
