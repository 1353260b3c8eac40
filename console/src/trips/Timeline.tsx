import { Link } from "wouter";
import { useLocale, type Strings } from "../strings";
import type { Format } from "../strings/format";
import { Empty } from "../ui/states";
import { nameOf, standingOf, type Trip } from "./model";
import { marksOf, share, spanOf, ticksOf, type Mark, type Span } from "./timeline";

interface Props {
  trips: readonly Trip[];
  /** Their names by id. */
  routes: ReadonlyMap<string, string>;
  now: number;
}

const percent = (part: number) => `${(part * 100).toFixed(2)}%`;

/** The day from left to right, a line for each trip: what was planned above it, what was and what is expected on it. */
export function Timeline({ trips, routes, now }: Props) {
  const { s, f } = useLocale();
  const span = spanOf(trips, now);
  if (span === null) return <Empty title={s.trips.timeline.empty} icon="list" />;
  const isNowInIt = now >= span.from && now <= span.to;
  const { legend } = s.trips.timeline;
  return (
    <section className="timeline" aria-label={s.trips.timeline.label}>
      <ul className="timeline-legend small muted" aria-hidden="true">
        {(["planned", "visit", "expected", "now"] as const).map((kind) => (
          <li key={kind}>
            <span className={`key ${kind}`} /> {legend[kind]}
          </li>
        ))}
      </ul>
      <div className="timeline-rows">
        <div className="timeline-axis small muted" aria-hidden="true">
          {ticksOf(span).map((tick) => (
            <span key={tick} style={{ left: percent(share(span, tick)) }}>
              {f.hour(tick)}
            </span>
          ))}
        </div>
        <ul>
          {trips.map((trip) => (
            <li key={trip.id} className="timeline-row">
              <Link href={`/trips/${trip.id}`} className={`timeline-name ${standingOf(trip, now)}`}>
                <span className="name">{nameOf(trip, routes.get(trip.route ?? ""))}</span>
                <span className="muted small">{trip.device ?? s.trips.noTruck}</span>
              </Link>
              <ol className="timeline-line">
                {ticksOf(span).map((tick) => (
                  <li key={tick} className="tick" style={{ left: percent(share(span, tick)) }} aria-hidden="true" />
                ))}
                {marksOf(trip, now).map((mark) => (
                  <StopMarks key={mark.stop.id} mark={mark} span={span} />
                ))}
                {isNowInIt && <li className="now" style={{ left: percent(share(span, now)) }} aria-hidden="true" />}
              </ol>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}

function StopMarks({ mark, span }: { mark: Mark; span: Span }) {
  const { s, f } = useLocale();
  const words = wordsOf(mark, s, f);
  const stretch = ({ from, to }: { from: number; to: number }) => {
    const left = share(span, from);
    return { left: percent(left), width: percent(share(span, to) - left) };
  };
  return (
    <li className="stop" title={words}>
      <span className="sr-only">{words}</span>
      {mark.planned !== null && <span className="planned" style={{ left: percent(share(span, mark.planned)) }} />}
      {mark.visit !== null && <span className="visit" style={stretch(mark.visit)} />}
      {mark.expected !== null && (
        <>
          <span className="band" style={stretch(mark.expected)} />
          <span className="expected" style={{ left: percent(share(span, mark.expected.at)) }} />
        </>
      )}
    </li>
  );
}

function wordsOf({ stop, planned, visit, expected }: Mark, s: Strings, f: Format): string {
  const words = s.trips.timeline;
  const plan = planned === null ? "–" : f.hour(planned);
  if (stop.state === "skipped") return words.words(stop.name, plan, words.skipped);
  if (visit !== null) return words.words(stop.name, plan, words.was(f.hour(visit.from)));
  if (expected !== null) return words.words(stop.name, plan, words.will(f.hour(expected.at), f.hour(expected.from), f.hour(expected.to)));
  return words.words(stop.name, plan, words.open);
}
