
import { useLocale } from "../strings";
import { Icon } from "../ui/Icon";
import type { Grounds } from "./arrivals";
import { hereStop, nextStop, stopDelayMs, type Trip } from "./model";
import { delayWords, reasonWords } from "./words";

const AGED_MS = 90_000;

/** When the next stop is reached, how sure that is, and why: in words. */
export function NextArrival({ trip, grounds, now }: { trip: Trip; grounds: Grounds | null; now: number }) {
  const { s, f } = useLocale();
  const words = s.trips.page;
  const [here, next] = [hereStop(trip), nextStop(trip)];
  const why = grounds === null ? "" : reasonWords(grounds.reason, s, f);
  return (
    <section className="panel next-arrival" aria-label={words.nextArrival}>
      <h2>{words.nextArrival}</h2>
      {here !== null && <p>{s.trips.here(here.name)}</p>}
      {next === null && <p className="muted">{words.noNext}</p>}
      {next !== null && next.eta === null && (
        <>
          <p className="next-name">{next.name}</p>
          <p className="muted">
            {words.noEta}. {trip.state === "planned" ? words.noEtaPlanned : words.noEtaUnderWay}
          </p>
        </>
      )}
      {next?.eta != null && (
        <>
          <p className="next-name">{next.name}</p>
          <p className="next-time" title={f.time(next.eta.at)}>
            {f.hour(next.eta.at)} <span className="muted">{f.ago(Math.max(next.eta.at, now), now)}</span>
          </p>
          <p>{words.band(f.hour(next.eta.p10), f.hour(next.eta.p90))}</p>
          {next.plannedAt !== null && (
            <p className="muted">
              {words.planned} {f.hour(next.plannedAt)} · {delayWords(stopDelayMs(next), s, f)}
            </p>
          )}
        </>
      )}
      {grounds !== null && trip.state === "under_way" && (
        <div className="grounds">
          <h3>{words.why}</h3>
          <p>
            <span className={`badge method-${grounds.method}`}>{words.methodNames[grounds.method] ?? grounds.method}</span>
          </p>
          <p>{words.methods[grounds.method] ?? grounds.reason}</p>
          {!grounds.isOnRoute && grounds.method !== "approach" && (
            <p className="warn">
              <Icon name="alert" /> {words.offRoute}
            </p>
          )}
          <p className="muted small">
            {why !== "" && `${why} · `}
            {words.made(f.ago(Math.min(grounds.madeAt, now), now))}
            {now - grounds.fixAt >= AGED_MS && ` · ${words.fixAge(f.duration(now - grounds.fixAt))}`}
            {grounds.progressM > 0 &&
              ` · ${grounds.lengthM === null ? words.drivenOnly(f.distance(grounds.progressM)) : words.driven(f.distance(grounds.progressM), f.distance(grounds.lengthM))}`}
          </p>
        </div>
      )}
    </section>
  );
}
