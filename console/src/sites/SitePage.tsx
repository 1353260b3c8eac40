import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import { Link } from "wouter";
import { useRoutes } from "../api/routes";
import { useSite, useSiteChanges, type Site } from "../api/sites";
import { useTrips } from "../api/trips";
import { useMay } from "../app/session";
import { dayName } from "../device/track";
import { serverNow } from "../live/clock";
import { widen, type Bounds } from "../map/bounds";
import { fillArea, pin, type Paper } from "../map/paper";
import { useLocale } from "../strings";
import { byUrgency } from "../trips/model";
import { TripList } from "../trips/TripList";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { Forbidden } from "../ui/Forbidden";
import { Icon } from "../ui/Icon";
import { Loading, ProblemNote } from "../ui/states";
import { useNow } from "../ui/useNow";
import { SiteForm } from "./SiteForm";
import { Windows } from "./SitesPage";

const CanvasMap = lazy(() => import("../map/CanvasMap"));
const NOW_EVERY_MS = 5000;
const METRES_A_DEGREE = 111_195;
/** How much of the ground around a site is shown, in its radii and at least in metres. */
const [AROUND, LEAST_AROUND_M] = [4, 250];

export default function SitePage({ site: id }: { site: string }) {
  const site = useSite(id);
  if (!useMay("sites:read")) return <Forbidden />;
  if (site.isPending) return <Loading />;
  if (site.isError) {
    return (
      <div className="page">
        <Crumb />
        <ProblemNote error={site.error} onRetry={() => void site.refetch()} />
      </div>
    );
  }
  return <Page site={site.data.data} etag={site.data.etag} />;
}

function Page({ site, etag }: { site: Site; etag: string | null }) {
  const { s, f } = useLocale();
  const mayWrite = useMay("sites:write");
  const { archive } = useSiteChanges();
  const [dialog, setDialog] = useState<"edit" | "archive" | null>(null);
  const close = () => setDialog(null);
  return (
    <div className="page wide">
      <Crumb />
      <header className="page-head">
        <h1>{site.name}</h1>
        <span className="badge">{s.sites.kinds[site.kind]}</span>
        {site.archived && <span className="badge suspended">{s.sites.archived}</span>}
        {site.code !== null && <span className="muted">{site.code}</span>}
        {mayWrite && !site.archived && (
          <div className="end">
            <Button icon="edit" onClick={() => setDialog("edit")}>
              {s.sites.edit}
            </Button>
            <Button kind="danger" onClick={() => setDialog("archive")}>
              {s.sites.archive}
            </Button>
          </div>
        )}
      </header>
      <div className="trip-grid">
        <div className="player">
          <SiteMap site={site} />
        </div>
        <section className="panel" aria-label={s.sites.title}>
          <dl className="facts">
            <div className="wide">
              <dt>{s.sites.position}</dt>
              <dd>{f.coordinates(site.lat, site.lon)}</dd>
            </div>
            <div>
              <dt>{site.polygon.length === 0 ? s.sites.radius : s.sites.area}</dt>
              <dd>{site.polygon.length === 0 ? f.distance(site.radius_m) : s.sites.corners(f.integer(site.polygon.length))}</dd>
            </div>
            <div>
              <dt>{s.sites.timezone}</dt>
              <dd>{site.timezone}</dd>
            </div>
            <div className="wide">
              <dt>{s.sites.windows}</dt>
              <dd>
                <Windows site={site} />
              </dd>
            </div>
            <div className="wide">
              <dt>{s.sites.contacts}</dt>
              <dd>
                <Contacts site={site} />
              </dd>
            </div>
          </dl>
          {Object.keys(site.labels).length > 0 && (
            <ul className="labels" aria-label={s.sites.labels}>
              {Object.entries(site.labels).map(([name, value]) => (
                <li key={name}>
                  <span className="muted">{name}</span> {value}
                </li>
              ))}
            </ul>
          )}
        </section>
      </div>
      <TripsHere site={site.id} />
      {dialog === "edit" && <SiteForm site={site} etag={etag} onClose={close} onSaved={close} />}
      {dialog === "archive" && (
        <Confirm
          title={s.sites.archiveQuestion(site.name)}
          consequence={s.sites.archiveHint}
          action={s.sites.archive}
          isDangerous
          onConfirm={() => archive(site.id, etag)}
          onClose={close}
        />
      )}
    </div>
  );
}

function Crumb() {
  const { s } = useLocale();
  return (
    <nav className="small" aria-label={s.sites.crumb}>
      <Link href="/sites" className="crumb">
        <Icon name="left" size={12} /> {s.sites.crumb}
      </Link>
    </nav>
  );
}

function Contacts({ site }: { site: Site }) {
  const { s } = useLocale();
  if (site.contacts.length === 0) return <span className="muted">{s.sites.noContacts}</span>;
  return (
    <ul>
      {site.contacts.map(({ name, email, phone }) => (
        <li key={`${name} ${email} ${phone}`}>
          {name}
          {email !== "" && (
            <>
              {" · "}
              <a href={`mailto:${email}`}>{email}</a>
            </>
          )}
          {phone !== "" && (
            <>
              {" · "}
              <a href={`tel:${phone.replaceAll(" ", "")}`}>{phone}</a>
            </>
          )}
        </li>
      ))}
    </ul>
  );
}

function SiteMap({ site }: { site: Site }) {
  const { s } = useLocale();
  const draw = useCallback(
    (paper: Paper) => {
      fillArea(paper, { ...site, radiusM: site.radius_m }, paper.inks.accent);
      pin(paper, ...paper.place(site.lat, site.lon), "", paper.inks.accent, true);
    },
    [site],
  );
  const bounds = useMemo((): Bounds => {
    const reach = site.polygon.length > 0 ? 0 : AROUND * site.radius_m;
    const lat = Math.max(LEAST_AROUND_M, reach) / METRES_A_DEGREE;
    const lon = lat / Math.cos((site.lat * Math.PI) / 180);
    const box: Bounds = [site.lon - lon, site.lat - lat, site.lon + lon, site.lat + lat];
    for (const corner of site.polygon) widen(box, corner.lon, corner.lat);
    return box;
  }, [site]);
  return (
    <Suspense fallback={<Loading />}>
      <CanvasMap label={s.sites.map} bounds={bounds} view={String(bounds)} draw={draw} />
    </Suspense>
  );
}

function TripsHere({ site }: { site: string }) {
  const { s } = useLocale();
  const mayRead = useMay("trips:read");
  return (
    <section className="section">
      <h2>{s.sites.trips}</h2>
      {mayRead && <Trips site={site} />}
    </section>
  );
}

function Trips({ site }: { site: string }) {
  const { s } = useLocale();
  const now = useNow(NOW_EVERY_MS);
  const [day] = useState(() => dayName(serverNow()));
  const trips = useTrips({ day, site });
  const routes = useRoutes();
  const names = useMemo(() => new Map(routes.data?.map((route) => [route.id, route.name])), [routes.data]);
  if (trips.isPending) return <Loading />;
  if (trips.isError) return <ProblemNote error={trips.error} onRetry={() => void trips.refetch()} />;
  if (trips.data.trips.length === 0) return <p className="muted">{s.sites.noTrips}</p>;
  return <TripList trips={byUrgency(trips.data.trips, now)} routes={names} now={now} />;
}
