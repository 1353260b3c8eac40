import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import { Link, useLocation } from "wouter";
import { useRoute, useRouteChanges, type Route } from "../api/routes";
import { useAllSites, type Site } from "../api/sites";
import { useMay } from "../app/session";
import { dayName } from "../device/track";
import { serverNow } from "../live/clock";
import { widen, type Bounds } from "../map/bounds";
import { pin, strokeLine, type Paper } from "../map/paper";
import { useLocale } from "../strings";
import { PlanTrip } from "../trips/PlanTrip";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { Forbidden } from "../ui/Forbidden";
import { Icon } from "../ui/Icon";
import { Loading, ProblemNote } from "../ui/states";
import { RouteForm } from "./RouteForm";
import { Weekdays } from "./RoutesPage";

const CanvasMap = lazy(() => import("../map/CanvasMap"));
const MINUTE_S = 60;

export default function RoutePage({ route: id }: { route: string }) {
  const { s } = useLocale();
  const route = useRoute(id);
  if (!useMay("trips:read")) return <Forbidden />;
  if (route.isPending) return <Loading />;
  if (route.isError) {
    return (
      <div className="page">
        <Crumb />
        <ProblemNote error={route.error} onRetry={() => void route.refetch()} />
        <Link href="/routes">{s.routes.crumb}</Link>
      </div>
    );
  }
  return <Page route={route.data.data} etag={route.data.etag} />;
}

function Page({ route, etag }: { route: Route; etag: string | null }) {
  const { s } = useLocale();
  const mayWrite = useMay("trips:write");
  const sites = useAllSites();
  const byId = useMemo(() => new Map(sites.data?.map((site) => [site.id, site])), [sites.data]);
  const { archive } = useRouteChanges();
  const [, go] = useLocation();
  const [dialog, setDialog] = useState<"edit" | "archive" | "plan" | null>(null);
  const close = () => setDialog(null);
  return (
    <div className="page wide">
      <Crumb />
      <header className="page-head">
        <h1>{route.name}</h1>
        {route.archived && <span className="badge suspended">{s.routes.archived}</span>}
        <span className="muted">{route.code}</span>
        {mayWrite && !route.archived && (
          <div className="end">
            <Button kind="primary" icon="plus" onClick={() => setDialog("plan")}>
              {s.routes.makeTrips}
            </Button>
            <Button icon="edit" onClick={() => setDialog("edit")}>
              {s.routes.edit}
            </Button>
            <Button kind="danger" onClick={() => setDialog("archive")}>
              {s.routes.archive}
            </Button>
          </div>
        )}
      </header>
      <Facts route={route} />
      <div className="trip-grid even">
        <div className="player">{sites.isSuccess && <RouteMap route={route} sites={byId} />}</div>
        <Stops route={route} sites={byId} isPending={sites.isPending} />
      </div>
      {dialog === "edit" && <RouteForm route={route} etag={etag} onClose={close} onSaved={close} />}
      {dialog === "plan" && <PlanTrip day={dayName(serverNow())} route={route.id} onClose={close} onMade={(trip) => go(`/trips/${trip}`)} />}
      {dialog === "archive" && (
        <Confirm
          title={s.routes.archiveQuestion(route.name)}
          consequence={s.routes.archiveHint}
          action={s.routes.archive}
          isDangerous
          onConfirm={() => archive(route.id, etag)}
          onClose={close}
        />
      )}
    </div>
  );
}

function Crumb() {
  const { s } = useLocale();
  return (
    <nav className="small" aria-label={s.routes.crumb}>
      <Link href="/routes" className="crumb">
        <Icon name="left" size={12} /> {s.routes.crumb}
      </Link>
    </nav>
  );
}

function Facts({ route }: { route: Route }) {
  const { s } = useLocale();
  return (
    <dl className="figures">
      <div>
        <dt>{s.routes.weekdays}</dt>
        <dd>
          <Weekdays route={route} />
        </dd>
      </div>
      <div>
        <dt>{s.routes.start}</dt>
        <dd>
          {route.starts_at === null ? (
            "–"
          ) : (
            <>
              {route.starts_at} <span className="muted small">{route.timezone}</span>
            </>
          )}
        </dd>
      </div>
      <div>
        <dt>{s.routes.truck}</dt>
        <dd>{route.device === null ? "–" : <Link href={`/devices/${encodeURIComponent(route.device)}`}>{route.device}</Link>}</dd>
      </div>
    </dl>
  );
}

function Stops({ route, sites, isPending }: { route: Route; sites: ReadonlyMap<string, Site>; isPending: boolean }) {
  const { s, f } = useLocale();
  const minutes = (seconds: number | null) => (seconds === null ? "–" : f.duration(seconds * 1000));
  const hasQuantity = route.stops.some((stop) => stop.quantity !== null);
  return (
    <div className="table-wrap">
      <table aria-label={s.routes.stops}>
        <thead>
          <tr>
            <th scope="col" className="number">
              #
            </th>
            <th scope="col">{s.trips.page.site}</th>
            <th scope="col">{s.routes.afterStart}</th>
            <th scope="col">{s.trips.page.service}</th>
            {hasQuantity && (
              <th scope="col" className="number">
                {s.routes.quantity}
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {route.stops.map((stop, index) => (
            <tr key={`${index} ${stop.site}`}>
              <td className="number">{index + 1}</td>
              <td>
                <Link href={`/sites/${stop.site}`}>{sites.get(stop.site)?.name ?? (isPending ? "…" : stop.site)}</Link>
              </td>
              <td>{minutes(stop.after_s)}</td>
              <td>{stop.service_s === null ? "–" : minutes(Math.round(stop.service_s / MINUTE_S) * MINUTE_S)}</td>
              {hasQuantity && <td className="number">{stop.quantity === null ? "–" : f.number(stop.quantity)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function RouteMap({ route, sites }: { route: Route; sites: ReadonlyMap<string, Site> }) {
  const { s } = useLocale();
  const places = useMemo(() => route.stops.flatMap((stop) => sites.get(stop.site) ?? []), [route, sites]);
  const draw = useCallback(
    (paper: Paper) => {
      if (route.shape.length > 1) strokeLine(paper, route.shape, paper.inks.accent, 3.5);
      else {
        paper.pen.setLineDash([2, 7]);
        strokeLine(paper, places, paper.inks.motions.offline, 2.5);
        paper.pen.setLineDash([]);
      }
      places.forEach(({ lat, lon }, index) => pin(paper, ...paper.place(lat, lon), String(index + 1), paper.inks.accent, true));
    },
    [route, places],
  );
  const bounds = useMemo((): Bounds | null => {
    if (places.length === 0) return null;
    const box: Bounds = [180, 90, -180, -90];
    for (const { lat, lon } of places) widen(box, lon, lat);
    return box;
  }, [places]);
  return (
    <Suspense fallback={<Loading />}>
      <CanvasMap label={s.routes.map} bounds={bounds} view={String(bounds)} draw={draw} />
    </Suspense>
  );
}
