import { Link } from "wouter";
import { useLocale } from "../strings";
import { delayMs, hereStop, nameOf, nextStop, progress, standingOf, type Trip } from "./model";
import { bandWords, delayWords } from "./words";

interface Props {
  trips: readonly Trip[];
  routes: ReadonlyMap<string, string>;
  now: number;
}

/** Trips in the order of urgency, each a row. */
export function TripList({ trips, routes, now }: Props) {
  const { s } = useLocale();
  return (
    <div className="table-wrap">
      <table aria-label={s.trips.title}>
        <thead>
          <tr>
            {[s.trips.standing, s.trips.trip, s.trips.truck, s.trips.progress, s.trips.next].map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
            <th scope="col">{s.trips.state}</th>
          </tr>
        </thead>
        <tbody>
          {trips.map((trip) => (
            <Row key={trip.id} trip={trip} routes={routes} now={now} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ trip, routes, now }: { trip: Trip; routes: ReadonlyMap<string, string>; now: number }) {
  const { s, f } = useLocale();
  const standing = standingOf(trip, now);
  const route = trip.route === null ? null : (routes.get(trip.route) ?? null);
  return (
    <tr className={`trip-row ${standing}`}>
      <td>
        <span className={`badge standing ${standing}`}>
          {standing === "unknown" ? s.trips.standings.unknown : delayWords(delayMs(trip, now), s, f)}
        </span>
      </td>
      <td>
        <Link href={`/trips/${trip.id}`} className="name">
          {nameOf(trip, route)}
        </Link>
        {trip.code !== null && route !== null && <p className="muted small">{route}</p>}
      </td>
      <td>
        {trip.device === null ? (
          <span className="muted">{s.trips.noTruck}</span>
        ) : (
          <Link href={`/devices/${encodeURIComponent(trip.device)}`}>{trip.device}</Link>
        )}
      </td>
      <td>
        <Progress trip={trip} />
      </td>
      <td>
        <Next trip={trip} />
      </td>
      <td>
        <span className={`badge trip-${trip.state}`}>{s.trips.states[trip.state]}</span>
        {trip.state === "planned" && trip.plannedStart !== null && <p className="muted small">{f.hour(trip.plannedStart)}</p>}
      </td>
    </tr>
  );
}

export function Progress({ trip }: { trip: Trip }) {
  const { s, f } = useLocale();
  const { done, all } = progress(trip);
  const words = s.trips.progressOf(f.integer(done), f.integer(all));
  return (
    <span className="progress" title={words}>
      <meter min={0} max={Math.max(1, all)} value={done} aria-label={words} />
      <span className="small" aria-hidden="true">
        {f.integer(done)}/{f.integer(all)}
      </span>
    </span>
  );
}

function Next({ trip }: { trip: Trip }) {
  const { s, f } = useLocale();
  const [here, next] = [hereStop(trip), nextStop(trip)];
  if (here === null && next === null) return <span className="muted">–</span>;
  return (
    <>
      {here !== null && <p className="small">{s.trips.here(here.name)}</p>}
      {next !== null && (
        <p>
          {next.name}
          {next.eta !== null && (
            <>
              {" "}
              <strong>{f.hour(next.eta.at)}</strong> <span className="muted small">{bandWords(next.eta, s, f)}</span>
            </>
          )}
          {next.eta === null && next.plannedAt !== null && <span className="muted small"> {f.hour(next.plannedAt)}</span>}
        </p>
      )}
    </>
  );
}
