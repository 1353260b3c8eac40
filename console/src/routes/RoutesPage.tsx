import { useState } from "react";
import { Link, useLocation } from "wouter";
import { useRoutes, type Route } from "../api/routes";
import { useMay } from "../app/session";
import { ImportDialog } from "../sites/ImportDialog";
import { daysWords } from "../sites/model";
import { useLocale } from "../strings";
import { TripTabs } from "../trips/TripTabs";
import { Button } from "../ui/Button";
import { DataTable, type Column } from "../ui/DataTable";
import { Forbidden } from "../ui/Forbidden";
import { Icon } from "../ui/Icon";
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
  const [dialog, setDialog] = useState<"add" | "import" | null>(null);
  const columns: Column<Route>[] = [
    {
      head: s.routes.name,
      cell: (route) => (
        <>
          <Link href={`/routes/${route.id}`} className="name">
            {route.name}
          </Link>
          {route.code !== null && <p className="muted small">{route.code}</p>}
        </>
      ),
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
      <header className="page-head">
        <h1>{s.routes.title}</h1>
        <p className="muted">{s.routes.lead}</p>
        {mayWrite && (
          <div className="end">
            <Button icon="upload" onClick={() => setDialog("import")}>
              {s.routes.import}
            </Button>
            <Button kind="primary" icon="plus" onClick={() => setDialog("add")}>
              {s.routes.add}
            </Button>
          </div>
        )}
      </header>
      <div className="toolbar">
        <div className="search">
          <Icon name="search" />
          <input type="search" aria-label={s.routes.search} placeholder={s.routes.search} value={text} onChange={(event) => setText(event.target.value)} />
        </div>
      </div>
      <DataTable
        label={s.routes.title}
        columns={columns}
        keyOf={(route) => route.id}
        emptyTitle={wanted === "" ? s.routes.empty : s.trips.noMatch}
        {...(wanted === "" ? { emptyHint: s.routes.emptyHint } : {})}
        pages={{ ...routes, items: found, hasNextPage: false, isFetchingNextPage: false, fetchNextPage: () => undefined }}
      />
      {dialog === "add" && <RouteForm route={null} etag={null} onClose={() => setDialog(null)} onSaved={(route) => go(`/routes/${route}`)} />}
      {dialog === "import" && <ImportDialog what="routes" onClose={() => setDialog(null)} />}
    </div>
  );
}

export function Weekdays({ route }: { route: Route }) {
  const { s } = useLocale();
  if (route.weekdays.length === 0) return <span className="muted">{s.routes.noDays}</span>;
  return <>{route.weekdays.length === 7 ? s.sites.everyDay : daysWords(route.weekdays, s.routes.days)}</>;
}
