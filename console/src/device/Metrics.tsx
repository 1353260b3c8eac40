import { useState } from "react";
import { useSeries, useSignals, type Resolution, type Signal } from "../api/history";
import { serverNow } from "../live/clock";
import { useLocale } from "../strings";
import { Select } from "../ui/Field";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { When } from "../ui/When";
import { Chart } from "./Chart";
import { unitOf } from "./unit";

const HOUR_MS = 3_600_000;
const RANGES = { hour: HOUR_MS, day: 24 * HOUR_MS, week: 168 * HOUR_MS, month: 720 * HOUR_MS } as const;
type Range = keyof typeof RANGES;

/** What each range may be cut into without drowning the chart or the server. */
const RESOLUTIONS: Record<Range, readonly Resolution[]> = {
  hour: ["auto", "raw", "1m"],
  day: ["auto", "1m", "1h"],
  week: ["auto", "1h"],
  month: ["auto", "1h"],
};

/** Every signal of a vehicle as a chart over a range. */
export function Metrics({ device }: { device: string }) {
  const { s } = useLocale();
  const signals = useSignals(device);
  const [range, setRange] = useState<Range>("hour");
  const [resolution, setResolution] = useState<Resolution>("auto");
  const [end, setEnd] = useState(serverNow);
  if (signals.isPending) return <Loading />;
  if (signals.isError) return <ProblemNote error={signals.error} onRetry={() => void signals.refetch()} />;
  if (signals.data.length === 0) return <Empty title={s.metrics.empty} hint={s.metrics.emptyHint} icon="list" />;
  const names: Record<Resolution, string> = {
    auto: s.metrics.resolutions.auto,
    raw: s.metrics.resolutions.raw,
    "1m": s.metrics.resolutions.minute,
    "1h": s.metrics.resolutions.hour,
  };
  return (
    <>
      <div className="toolbar">
        <Select
          label={s.metrics.range}
          value={range}
          options={(Object.keys(RANGES) as Range[]).map((name) => [name, s.metrics.ranges[name]] as const)}
          onPick={(name) => {
            setRange(name as Range);
            setResolution("auto");
            setEnd(serverNow());
          }}
        />
        <Select
          label={s.metrics.resolution}
          value={resolution}
          options={RESOLUTIONS[range].map((name) => [name, names[name]] as const)}
          onPick={(name) => setResolution(name as Resolution)}
        />
      </div>
      <div className="charts">
        {signals.data.map((signal) => (
          <SignalPanel key={signal.name} device={device} signal={signal} from={end - RANGES[range]} to={end} resolution={resolution} />
        ))}
      </div>
    </>
  );
}

interface PanelProps {
  device: string;
  signal: Signal;
  from: number;
  to: number;
  resolution: Resolution;
}

function SignalPanel({ device, signal, from, to, resolution }: PanelProps) {
  const { s, f } = useLocale();
  const isText = typeof signal.value === "string";
  const series = useSeries(device, signal.name, from, to, isText ? "raw" : resolution);
  return (
    <section className="panel" aria-label={signal.name}>
      <header className="chart-head">
        <h2>{signal.name}</h2>
        <p>
          <strong>{typeof signal.value === "string" ? signal.value : `${f.number(signal.value)} ${unitOf(signal.name)}`}</strong>{" "}
          <span className="muted small">
            <When at={signal.ts} isRelative />
          </span>
        </p>
      </header>
      {series.isPending && <Loading />}
      {series.isError && <ProblemNote error={series.error} onRetry={() => void series.refetch()} />}
      {series.isSuccess && series.data.samples.length === 0 && series.data.texts.length === 0 && (
        <p className="muted chart-empty">{s.metrics.noValues}</p>
      )}
      {series.isSuccess && series.data.samples.length > 0 && <Chart name={signal.name} series={series.data} from={from} to={to} />}
      {series.isSuccess && series.data.texts.length > 0 && <Texts texts={series.data.texts} name={signal.name} />}
    </section>
  );
}

function Texts({ texts, name }: { texts: { ts: number; text: string }[]; name: string }) {
  const { s } = useLocale();
  const changes = texts.filter((one, index) => texts[index - 1]?.text !== one.text).reverse();
  return (
    <div className="table-wrap chart-table">
      <table aria-label={name}>
        <thead>
          <tr>
            <th scope="col">{s.metrics.at}</th>
            <th scope="col">{s.metrics.value}</th>
          </tr>
        </thead>
        <tbody>
          {changes.map((one) => (
            <tr key={one.ts}>
              <td>
                <When at={one.ts} />
              </td>
              <td>{one.text}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
