import { useMapsReport, type MapsReport } from "../api/maps";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { TripTabs } from "../trips/TripTabs";
import { dayWords } from "../trips/words";
import { Figures } from "../ui/Figures";
import { Forbidden } from "../ui/Forbidden";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { Table, type Column } from "../ui/Table";
import { RangeSelect, useRange } from "./range";

const HOUR_MS = 3_600_000;

export default function MapsPage() {
  const mayTrips = useMay("trips:read");
  const maySites = useMay("sites:read");
  return mayTrips && maySites ? <Page /> : <Forbidden />;
}

/** How often a map was asked, what of it was billed, and what the same trips would have cost otherwise. */
function Page() {
  const { s } = useLocale();
  const range = useRange();
  const report = useMapsReport({ from: range.from, to: range.to });
  return (
    <div className="page wide">
      <TripTabs here="maps" />
      <header className="page-head">
        <h1>{s.maps.title}</h1>
      </header>
      <p className="muted">{s.maps.lead}</p>
      <div className="toolbar">
        <RangeSelect range={range} />
      </div>
      {report.isPending && <Loading />}
      {report.isError && <ProblemNote error={report.error} onRetry={() => void report.refetch()} />}
      {report.isSuccess &&
        (report.data.calls === 0 && report.data.trips === 0 ? (
          <Empty title={s.maps.empty} hint={s.maps.emptyHint} icon="route" />
        ) : (
          <Report report={report.data} />
        ))}
    </div>
  );
}

function Report({ report }: { report: MapsReport }) {
  const { s, f } = useLocale();
  const { prices } = report;
  const facts: [string, string][] = [
    [s.maps.trips, f.integer(report.trips)],
    [s.maps.driven, f.duration(report.hours * HOUR_MS)],
    [s.maps.calls, f.integer(report.calls)],
    [s.maps.callsPerTrip, report.trips === 0 ? "–" : f.number(report.calls_per_trip, 1)],
    [s.maps.billed, f.integer(report.billed_calls)],
    [s.maps.cost, f.money(report.billed_cost, prices.currency)],
  ];
  const methods: Column<MapsReport["methods"][number]>[] = [
    { head: s.maps.method, cell: (row) => s.maps.methods[row.name] ?? row.what, className: "wrap" },
    { head: s.maps.calls, cell: (row) => f.integer(row.calls), className: "number" },
    { head: s.maps.cost, cell: (row) => f.money(row.cost, prices.currency), className: "number" },
  ];
  return (
    <>
      <Figures facts={facts} />
      <Uses report={report} />
      <section className="section">
        <h2>{s.maps.compared}</h2>
        <p className="muted">{s.maps.comparedLead}</p>
        {report.trips === 0 ? (
          <p className="muted">{s.maps.noTrips}</p>
        ) : (
          <Table label={s.maps.compared} columns={methods} keyOf={(row) => row.name} rows={report.methods} />
        )}
        <p className="muted small">
          {s.maps.prices(prices.engine, dayWords(prices.as_of, f), f.integer(prices.free_per_month))}{" "}
          <a href={prices.source} rel="noreferrer" target="_blank">
            {s.maps.source}
          </a>
        </p>
      </section>
    </>
  );
}

function Uses({ report }: { report: MapsReport }) {
  const { s, f } = useLocale();
  const columns: Column<MapsReport["uses"][number]>[] = [
    { head: s.maps.engine, cell: (row) => s.maps.engines[row.engine] ?? row.engine },
    { head: s.maps.purpose, cell: (row) => s.maps.purposes[row.purpose] ?? row.purpose, className: "wrap" },
    { head: s.maps.calls, cell: (row) => f.integer(row.calls), className: "number" },
    { head: s.maps.failed, cell: (row) => f.integer(row.failed), className: "number" },
    { head: s.maps.refused, cell: (row) => f.integer(row.refused), className: "number" },
    {
      head: s.maps.took,
      cell: (row) => (row.calls === 0 ? "–" : s.maps.milliseconds(f.integer((row.seconds / row.calls) * 1000))),
      className: "number",
    },
  ];
  return (
    <section className="section">
      <h2>{s.maps.uses}</h2>
      {report.uses.length === 0 ? (
        <p className="muted">{s.maps.noCalls}</p>
      ) : (
        <Table label={s.maps.uses} columns={columns} keyOf={(row) => `${row.engine} ${row.purpose}`} rows={report.uses} />
      )}
      <p className="muted small">{s.maps.usesHint}</p>
    </section>
  );
}
