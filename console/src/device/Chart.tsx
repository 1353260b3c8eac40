import { useMemo, useState, type KeyboardEvent, type PointerEvent } from "react";
import type { Sample, Series } from "../api/history";
import { useLocale } from "../strings";
import { When } from "../ui/When";
import { bandPath, linePath, nearest, scaleOf, stretches, xOf, yOf, type Frame } from "./chartModel";

const WIDTH = 520;
const HEIGHT = 130;
const TICKS_OF_TIME = [0, 0.5, 1];
const DAY_MS = 86_400_000;
const TABLE_ROWS = 200;

/** A signal as a line with the spread of each bucket around it; read with the pointer, with arrow keys or as a table. */
export function Chart({ name, series, from, to }: { name: string; series: Series; from: number; to: number }) {
  const { s, f } = useLocale();
  const { samples, bucketMs } = series;
  const [at, setAt] = useState<number | null>(null);
  const scale = useMemo(() => scaleOf(samples), [samples]);
  const frame: Frame = { width: WIDTH, height: HEIGHT, from, to, low: scale.low, high: scale.high };
  const parts = useMemo(() => stretches(samples, bucketMs), [samples, bucketMs]);
  const read = at === null ? undefined : samples[Math.min(at, samples.length - 1)];

  const onPointer = (event: PointerEvent<SVGSVGElement>) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    setAt(nearest(samples, from + ((event.clientX - left) / width) * (to - from)));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const last = samples.length - 1;
    const now = at ?? last;
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    setAt(Math.max(0, Math.min(last, next)));
  };
  const timeLabel = (ts: number) => (to - from > DAY_MS ? f.date(ts) : f.hour(ts));
  return (
    <figure className="chart">
      <div className="chart-plot">
        <div className="chart-values muted small" aria-hidden="true">
          {[...scale.ticks].reverse().map((tick) => (
            <span key={tick} style={{ top: `${(yOf(frame, tick) / HEIGHT) * 100}%` }}>
              {f.number(tick, 3)}
            </span>
          ))}
        </div>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="slider"
          tabIndex={0}
          aria-label={s.metrics.chart(name)}
          aria-valuemin={0}
          aria-valuemax={samples.length - 1}
          aria-valuenow={at ?? samples.length - 1}
          aria-valuetext={words(read ?? samples.at(-1), f.time, f.number)}
          onPointerMove={onPointer}
          onPointerLeave={() => setAt(null)}
          onKeyDown={onKeyDown}
          onBlur={() => setAt(null)}
        >
          {scale.ticks.map((tick) => (
            <line key={tick} className="chart-grid" x1={0} x2={WIDTH} y1={yOf(frame, tick)} y2={yOf(frame, tick)} />
          ))}
          <path className="chart-band" d={bandPath(frame, parts)} />
          <path className="chart-line" d={linePath(frame, parts)} />
          {read !== undefined && (
            <line className="chart-cursor" x1={xOf(frame, read.ts)} x2={xOf(frame, read.ts)} y1={0} y2={HEIGHT} />
          )}
        </svg>
      </div>
      <div className="chart-times muted small" aria-hidden="true">
        {TICKS_OF_TIME.map((share) => (
          <span key={share}>{timeLabel(from + share * (to - from))}</span>
        ))}
      </div>
      <figcaption className="chart-read small">
        {read === undefined ? <Spread samples={samples} /> : <strong>{words(read, f.time, f.number)}</strong>}
      </figcaption>
      <details className="small">
        <summary className="muted">{s.metrics.table}</summary>
        <Values name={name} samples={samples} />
      </details>
    </figure>
  );
}

function words(sample: Sample | undefined, time: (at: number) => string, number: (value: number) => string): string {
  if (sample === undefined) return "";
  const spread = sample.count > 1 ? ` (${number(sample.low)} – ${number(sample.high)})` : "";
  return `${time(sample.ts)}: ${number(sample.value)}${spread}`;
}

/** Least, mean and greatest of what is shown. */
function Spread({ samples }: { samples: readonly Sample[] }) {
  const { s, f } = useLocale();
  const count = samples.reduce((sum, sample) => sum + sample.count, 0);
  const mean = samples.reduce((sum, sample) => sum + sample.value * sample.count, 0) / count;
  const facts: [string, number][] = [
    [s.metrics.minimum, Math.min(...samples.map((sample) => sample.low))],
    [s.metrics.average, mean],
    [s.metrics.maximum, Math.max(...samples.map((sample) => sample.high))],
  ];
  return (
    <span className="muted">
      {facts.map(([name, value]) => `${name} ${f.number(value)}`).join(" · ")} · {s.metrics.count} {f.integer(count)}
    </span>
  );
}

function Values({ name, samples }: { name: string; samples: readonly Sample[] }) {
  const { s, f } = useLocale();
  return (
    <div className="table-wrap chart-table">
      <table aria-label={name}>
        <thead>
          <tr>
            <th scope="col">{s.metrics.at}</th>
            <th scope="col" className="number">
              {s.metrics.average}
            </th>
            <th scope="col" className="number">
              {s.metrics.minimum}
            </th>
            <th scope="col" className="number">
              {s.metrics.maximum}
            </th>
          </tr>
        </thead>
        <tbody>
          {samples.slice(-TABLE_ROWS).reverse().map((sample) => (
            <tr key={sample.ts}>
              <td>
                <When at={sample.ts} />
              </td>
              <td className="number">{f.number(sample.value)}</td>
              <td className="number">{f.number(sample.low)}</td>
              <td className="number">{f.number(sample.high)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
