import { useState } from "react";
import { useAccuracy, type Accuracy } from "../api/accuracy";
import { useRoutes } from "../api/routes";
import { useMay } from "../app/session";
import { dayName } from "../device/track";
import { serverNow } from "../live/clock";
import { useLocale, type Strings } from "../strings";
import type { Format } from "../strings/format";
import { TripTabs } from "../trips/TripTabs";
import { dayWords } from "../trips/words";
import { Select } from "../ui/Field";
import { Forbidden } from "../ui/Forbidden";
import { Empty, Loading, ProblemNote } from "../ui/states";

const DAYS = { week: 7, month: 30, quarter: 90 } as const;
type Range = keyof typeof DAYS;
/** A mean of nothing is no number. */
const NONE = "–";

export default function AccuracyPage() {
  return useMay("trips:read") ? <Page /> : <Forbidden />;
}

/** How right the arrival times were that people were told, in numbers and in what they mean. */
function Page() {
  const { s } = useLocale();
  const [range, setRange] = useState<Range>("month");
  const [route, setRoute] = useState("");
  const routes = useRoutes();
  const [now] = useState(serverNow);
  const report = useAccuracy({ from: dayName(now, -DAYS[range]), to: dayName(now), route: route === "" ? null : route });
  return (
    <div className="page wide">
      <TripTabs here="accuracy" />
      <header className="page-head">
        <h1>{s.accuracy.title}</h1>
      </header>
      <p className="muted">{s.accuracy.lead}</p>
      <div className="toolbar">
        <Select
          label={s.accuracy.range}
          value={range}
          options={(Object.keys(DAYS) as Range[]).map((each) => [each, s.accuracy.ranges[each]] as const)}
          onPick={(each) => setRange(each as Range)}
        />
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
      <p className="verdict">{s.accuracy.verdict(f.duration(report.mae_5_to_10_min_s * 1000))}</p>
      <dl className="figures">
        {figures.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
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
  return (
    <div className="table-wrap">
      <table aria-label={s.accuracy.horizon}>
        <thead>
          <tr>
            <th scope="col">{s.accuracy.horizon}</th>
            {[s.accuracy.predictions, s.accuracy.mae, s.accuracy.bias, s.accuracy.within, s.accuracy.coverage].map((head) => (
              <th key={head} scope="col" className="number">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {report.horizons.map((row) => (
            <tr key={row.minutes}>
              <td>{s.accuracy.minutes(row.minutes.replace("-", "–"))}</td>
              <td className="number">{f.integer(row.predictions)}</td>
              <td className="number">{seconds(row.mae_s, f)}</td>
              <td className="number">{biasWords(row.bias_s, s, f)}</td>
              <td className="number">{percent(row.within_2_min_pct, f)}</td>
              <td className="number">{percent(row.band_coverage_pct, f)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Day by day, so that a bad day is seen as one. */
function Days({ report }: { report: Accuracy }) {
  const { s, f } = useLocale();
  if (report.days.length < 2) return null;
  return (
    <details>
      <summary>{s.accuracy.byDay}</summary>
      <div className="table-wrap">
        <table aria-label={s.accuracy.byDay}>
          <thead>
            <tr>
              <th scope="col">{s.trips.day}</th>
              {[s.accuracy.trips, s.accuracy.arrivals, s.accuracy.mae, s.accuracy.score, s.accuracy.coverage].map((head) => (
                <th key={head} scope="col" className="number">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {[...report.days].reverse().map((row) => (
              <tr key={row.day}>
                <td>{dayWords(row.day, f)}</td>
                <td className="number">{f.integer(row.trips)}</td>
                <td className="number">{f.integer(row.arrivals)}</td>
                <td className="number">{seconds(row.mae_5_to_10_min_s, f)}</td>
                <td className="number">{f.number(row.benchmark_score, 1)}</td>
                <td className="number">{percent(row.band_coverage_pct, f)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Alerts({ report }: { report: Accuracy }) {
  const { s, f } = useLocale();
  if (report.alerts.length === 0) return null;
  return (
    <section className="section">
      <h2>{s.accuracy.alerts}</h2>
      <div className="table-wrap">
        <table aria-label={s.accuracy.alerts}>
          <thead>
            <tr>
              <th scope="col">{s.accuracy.alertKind}</th>
              {[s.accuracy.fired, s.accuracy.alertError, s.accuracy.onTime, s.accuracy.late, s.accuracy.missed, s.accuracy.repeated].map((head) => (
                <th key={head} scope="col" className="number">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {report.alerts.map((row) => (
              <tr key={row.kind}>
                <td>{s.alerts.kinds[row.kind] ?? row.kind}</td>
                <td className="number">{f.integer(row.fired)}</td>
                <td className="number">{seconds(row.lead_mae_s, f)}</td>
                <td className="number">{percent(row.on_time_pct, f)}</td>
                <td className="number">{percent(row.late_pct, f)}</td>
                <td className="number">{percent(row.missed_pct, f)}</td>
                <td className="number">{f.integer(row.repeated)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p className="muted small">
        {s.accuracy.alertError}: {s.accuracy.alertErrorHint} {s.accuracy.late}: {s.accuracy.lateHint}
      </p>
    </section>
  );
}

function biasWords(bias: number | null, s: Strings, f: Format): string {
  if (bias === null) return NONE;
  if (Math.round(bias) === 0) return f.duration(0);
  const time = f.duration(Math.abs(bias) * 1000);
  return bias > 0 ? s.accuracy.lateWord(time) : s.accuracy.earlyWord(time);
}

function seconds(value: number | null, f: Format): string {
  return value === null ? NONE : f.duration(value * 1000);
}

function percent(share: number | null, f: Format): string {
  return share === null ? NONE : `${f.number(share, 0)} %`;
}
