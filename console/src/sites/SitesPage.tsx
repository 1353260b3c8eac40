import { lazy, Suspense, useCallback, useDeferredValue, useMemo, useState } from "react";
import { useLocation } from "wouter";
import { useSites, type Site } from "../api/sites";
import { useMay } from "../app/session";
import { widen, type Bounds } from "../map/bounds";
import { fillArea, type Paper } from "../map/paper";
import { useLocale } from "../strings";
import { DataTable, type Column } from "../ui/DataTable";
import { Select } from "../ui/Field";
import { Forbidden } from "../ui/Forbidden";
import { SearchField } from "../ui/SearchField";
import { Loading } from "../ui/states";
import { daysWords, KINDS, type Kind } from "./model";
import { Named, PlanHead } from "./PlanHead";
import { SiteForm } from "./SiteForm";

const CanvasMap = lazy(() => import("../map/CanvasMap"));

export default function SitesPage() {
  return useMay("sites:read") ? <Page /> : <Forbidden />;
}

function Page() {
  const { s, f } = useLocale();
  const mayWrite = useMay("sites:write");
  const [, go] = useLocation();
  const [text, setText] = useState("");
  const [kind, setKind] = useState<Kind | "">("");
  const search = useDeferredValue(text.trim());
  const sites = useSites({ search, kind });
  const columns: Column<Site>[] = [
    {
      head: s.sites.name,
      cell: (site) => <Named href={`/sites/${site.id}`} name={site.name} code={site.code} />,
    },
    { head: s.sites.kind, cell: (site) => s.sites.kinds[site.kind] },
    { head: s.sites.windows, cell: (site) => <Windows site={site} />, className: "wrap" },
    { head: s.sites.position, cell: (site) => <span className="small">{f.coordinates(site.lat, site.lon)}</span> },
    { head: s.sites.area, cell: (site) => (site.polygon.length > 0 ? s.sites.corners(f.integer(site.polygon.length)) : f.distance(site.radius_m)), className: "number" },
  ];
  const isFiltered = search !== "" || kind !== "";
  return (
    <div className="page wide">
      <PlanHead what="sites" mayWrite={mayWrite} form={(close) => <SiteForm site={null} etag={null} onClose={close} onSaved={(site) => go(`/sites/${site}`)} />} />
      <div className="toolbar">
        <SearchField label={s.sites.search} hint={s.sites.searchHint} value={text} onText={setText} />
        <Select
          label={s.sites.kind}
          isLabelHidden
          value={kind}
          options={[["", s.sites.anyKind], ...KINDS.map((each) => [each, s.sites.kinds[each]] as const)]}
          onPick={(each) => setKind(each as Kind | "")}
        />
      </div>
      {sites.items.length > 0 && <Overview sites={sites.items} />}
      <DataTable
        label={s.sites.title}
        columns={columns}
        keyOf={(site) => site.id}
        emptyTitle={isFiltered ? s.sites.noMatch : s.sites.empty}
        {...(isFiltered ? {} : { emptyHint: s.sites.emptyHint })}
        pages={sites}
      />
    </div>
  );
}

export function Windows({ site }: { site: Site }) {
  const { s } = useLocale();
  if (site.windows.length === 0) return <span className="muted">{s.sites.noWindows}</span>;
  return (
    <ul>
      {site.windows.map((window) => (
        <li key={`${window.days.join()} ${window.from}`}>
          {window.days.length === 7 ? s.sites.everyDay : daysWords(window.days, s.routes.days)} {window.from}–{window.to}
        </li>
      ))}
    </ul>
  );
}

function Overview({ sites }: { sites: readonly Site[] }) {
  const { s } = useLocale();
  const bounds = useMemo(() => {
    const box: Bounds = [180, 90, -180, -90];
    for (const { lat, lon } of sites) widen(box, lon, lat);
    return box;
  }, [sites]);
  const draw = useCallback(
    (paper: Paper) => {
      for (const site of sites) {
        fillArea(paper, { ...site, radiusM: site.radius_m }, site.kind === "farm" ? paper.inks.accent : paper.inks.motions.idle);
        const [x, y] = paper.place(site.lat, site.lon);
        paper.pen.beginPath();
        paper.pen.arc(x, y, 3.5, 0, 2 * Math.PI);
        paper.pen.fillStyle = site.kind === "farm" ? paper.inks.accent : paper.inks.motions.idle;
        paper.pen.fill();
      }
    },
    [sites],
  );
  return (
    <div className="player map-strip">
      <Suspense fallback={<Loading />}>
        <CanvasMap label={s.sites.overview} bounds={bounds} view={bounds.join()} draw={draw} />
      </Suspense>
    </div>
  );
}
