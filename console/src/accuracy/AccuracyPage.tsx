import { useState } from "react";
import { useAccuracy, type Accuracy } from "../api/accuracy";
import { useRoutes } from "../api/routes";
import { useMay } from "../app/session";
import { useLocale, type Strings } from "../strings";
import type { Format } from "../strings/format";
import { TripTabs } from "../trips/TripTabs";
import { dayWords } from "../trips/words";
import { Select } from "../ui/Field";
import { Figures } from "../ui/Figures";
import { Forbidden } from "../ui/Forbidden";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { Table, type Column } from "../ui/Table";
import { RangeSelect, useRange } from "./range";

/** A mean of nothing is no number. */
const NONE = "–";

export default function AccuracyPage() {
  return useMay("trips:read") ? <Page /> : <Forbidden />;
}

/** How right the arrival times were that people were told, in numbers and in what they mean. */
function Page() {
  const { s } = useLocale();
  const range = useRange();
  const [route, setRoute] = useState("");
  const routes = useRoutes();
  const report = useAccuracy({ from: range.from, to: range.to, route: route === "" ? null : route });
  return (
    <div className="page wide">
      <TripTabs here="accuracy" />
      <header className="page-head">
        <h1>{s.accuracy.title}</h1>
      </header>
      <p className="muted">{s.accuracy.lead}</p>
      <div className="toolbar">
        <RangeSelect range={range} />
        <Select
          label={s.trips.route}
          value={route}
          options={[["", s.accuracy.anyRoute], ...(routes.data ?? []).map((one) => [one.id, one.name] as const)]}
          onPick={setRoute}
        />
      </div>
      {report.isPending && <Loading />}
      {report.isError && <ProblemNote error={report.error} onRetry={() => void report.refetch()} />}
      {report.isSuccess &&
        (report.data.arrivals === 0 ? <Empty title={s.accuracy.empty} hint={s.accuracy.emptyHint} icon="clock" /> : <Report report={report.data} />)}
    </div>
  );
}

function Report({ report }: { report: Accuracy }) {
  const { s, f } = useLocale();
  const figures: [string, string][] = [
    [s.accuracy.score, f.number(report.benchmark_score, 1)],
    [s.accuracy.trips, f.integer(report.trips)],
    [s.accuracy.arrivals, f.integer(report.arrivals)],
    [s.accuracy.predictions, f.integer(report.predictions)],
  ];
  const meanings: [string, string][] = [
    [s.accuracy.mae, s.accuracy.maeHint],
    [s.accuracy.bias, s.accuracy.biasHint],
    [s.accuracy.within, s.accuracy.withinHint],
    [s.accuracy.coverage, s.accuracy.coverageHint],
    [s.accuracy.score, s.accuracy.scoreHint],
  ];
  return (
    <>
      <p className="verdict">{s.accuracy.verdict(f.exactly(report.mae_5_to_10_min_s * 1000))}</p>
      <Figures facts={figures} />
      <Horizons report={report} />
      <Days report={report} />
      <Alerts report={report} />
      <section className="panel" aria-label={s.accuracy.meaning}>
        <h2>{s.accuracy.meaning}</h2>
        <dl className="words">
          {meanings.map(([name, meaning]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{meaning}</dd>
            </div>
          ))}
        </dl>
      </section>
    </>
  );
}

function Horizons({ report }: { report: Accuracy }) {
  const { s, f } = useLocale();
  const columns: Column<Accuracy["horizons"][number]>[] = [
    { head: s.accuracy.horizon, cell: (row) => s.accuracy.minutes(row.minutes.replace("-", "–")) },
    { head: s.accuracy.predictions, cell: (row) => f.integer(row.predictions), className: "number" },
    { head: s.accuracy.mae, cell: (row) => seconds(row.mae_s, f), className: "number" },
    { head: s.accuracy.bias, cell: (row) => biasWords(row.bias_s, s, f), className: "number" },
    { head: s.accuracy.within, cell: (row) => percent(row.within_2_min_pct, f), className: "number" },
    { head: s.accuracy.coverage, cell: (row) => percent(row.band_coverage_pct, f), className: "number" },
  ];
  return <Table label={s.accuracy.horizon} columns={columns} keyOf={(row) => row.minutes} rows={report.horizons} />;
}

/** Day by day, so that a bad day is seen as one. */
function Days({ report }: { report: Accuracy }) {
  const { s, f } = useLocale();
  const columns: Column<Accuracy["days"][number]>[] = [
    { head: s.trips.day, cell: (row) => dayWords(row.day, f) },
    { head: s.accuracy.trips, cell: (row) => f.integer(row.trips), className: "number" },
    { head: s.accuracy.arrivals, cell: (row) => f.integer(row.arrivals), className: "number" },
    { head: s.accuracy.mae, cell: (row) => seconds(row.mae_5_to_10_min_s, f), className: "number" },
    { head: s.accuracy.score, cell: (row) => f.number(row.benchmark_score, 1), className: "number" },
    { head: s.accuracy.coverage, cell: (row) => percent(row.band_coverage_pct, f), className: "number" },
  ];
  if (report.days.length < 2) return null;
  return (
    <details>
      <summary>{s.accuracy.byDay}</summary>
      <Table label={s.accuracy.byDay} columns={columns} keyOf={(row) => row.day} rows={[...report.days].reverse()} />
    </details>
  );
}

function Alerts({ report }: { report: Accuracy }) {
  const { s, f } = useLocale();
  const columns: Column<Accuracy["alerts"][number]>[] = [
    { head: s.accuracy.alertKind, cell: (row) => s.alerts.kinds[row.kind] ?? row.kind },
    { head: s.accuracy.fired, cell: (row) => f.integer(row.fired), className: "number" },
    { head: s.accuracy.alertError, cell: (row) => seconds(row.lead_mae_s, f), className: "number" },
    { head: s.accuracy.onTime, cell: (row) => percent(row.on_time_pct, f), className: "number" },
    { head: s.accuracy.late, cell: (row) => percent(row.late_pct, f), className: "number" },
    { head: s.accuracy.missed, cell: (row) => percent(row.missed_pct, f), className: "number" },
    { head: s.accuracy.repeated, cell: (row) => f.integer(row.repeated), className: "number" },
  ];
  if (report.alerts.length === 0) return null;
  return (
    <section className="section">
      <h2>{s.accuracy.alerts}</h2>
      <Table label={s.accuracy.alerts} columns={columns} keyOf={(row) => row.kind} rows={report.alerts} />
      <p className="muted small">
        {s.accuracy.alertError}: {s.accuracy.alertErrorHint} {s.accuracy.late}: {s.accuracy.lateHint}
      </p>
    </section>
  );
}

function biasWords(bias: number | null, s: Strings, f: Format): string {
  if (bias === null) return NONE;
  if (Math.round(bias) === 0) return f.exactly(0);
  const time = f.exactly(Math.abs(bias) * 1000);
  return bias > 0 ? s.accuracy.lateWord(time) : s.accuracy.earlyWord(time);
}

function seconds(value: number | null, f: Format): string {
  return value === null ? NONE : f.exactly(value * 1000);
}

function percent(share: number | null, f: Format): string {
  return share === null ? NONE : f.percent(share);
}
