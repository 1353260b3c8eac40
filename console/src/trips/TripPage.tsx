import { useState } from "react";
import { Link } from "wouter";
import { useArrivals, useTrip } from "../api/trips";
import { useRoute } from "../api/routes";
import { problemOf } from "../api/problem";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Forbidden } from "../ui/Forbidden";
import { Icon } from "../ui/Icon";
import { Loading, ProblemNote } from "../ui/states";
import { useNow } from "../ui/useNow";
import { When } from "../ui/When";
import { LinkDialog } from "./LinkDialog";
import { delayMs, movesOf, nameOf, standingOf, type Stop, type Trip, type TripMove } from "./model";
import { NextArrival } from "./NextArrival";
import { AddStop, EditStop, TripQuestion } from "./TripQuestion";
import { StopsTable } from "./StopsTable";
import { Progress } from "./TripList";
import { TripMap } from "./TripMap";
import { dayWords, delayWords } from "./words";

const NOW_EVERY_MS = 1000;
const NO_SHAPE: { lat: number; lon: number }[] = [];

export default function TripPage({ trip: id }: { trip: string }) {
  const { s } = useLocale();
  const trip = useTrip(id);
  const mayRead = useMay("trips:read");
  if (!mayRead) return <Forbidden />;
  if (trip.isPending) return <Loading />;
  if (trip.isError) {
    return (
      <div className="page">
        <Crumb day={null} />
        <ProblemNote error={trip.error} onRetry={() => void trip.refetch()} />
        <Link href="/trips">{s.trips.page.crumb}</Link>
      </div>
    );
  }
  return <Page trip={trip.data.trip} etag={trip.data.etag} />;
}

/** What the page asks before it does it. */
type Asking = TripMove | { skip: Stop } | { link: Stop } | { change: Stop } | "addStop" | null;

function Page({ trip, etag }: { trip: Trip; etag: string | null }) {
  const { s } = useLocale();
  const mayWrite = useMay("trips:write");
  const now = useNow(NOW_EVERY_MS);
  const arrivals = useArrivals(trip);
  const route = useRoute(trip.route);
  const [asking, setAsking] = useState<Asking>(null);
  const [error, setError] = useState<unknown>(null);
  const isConflict = error !== null && problemOf(error).status === 412;
  const live = arrivals.trip;
  return (
    <div className="page wide">
      <Crumb day={trip.day} />
      <Head trip={live} now={now} onMove={mayWrite ? setAsking : null} />
      {isConflict && (
        <p className="note" role="alert">
          {s.trips.conflict}
        </p>
      )}
      {error !== null && !isConflict && <ProblemNote error={error} />}
      <div className="trip-grid">
        <div className="player">
          <TripMap trip={live} shape={route.data?.data.shape ?? NO_SHAPE} />
        </div>
        <NextArrival trip={live} grounds={arrivals.grounds} now={now} />
      </div>
      <section className="section">
        <div className="section-head">
          <h2>{s.trips.page.stops}</h2>
          {mayWrite && movesOf(trip).length > 0 && (
            <Button icon="plus" onClick={() => setAsking("addStop")}>
              {s.trips.addStop}
            </Button>
          )}
        </div>
        <StopsTable
          trip={live}
          etag={etag}
          mayWrite={mayWrite}
          onChange={(stop) => setAsking({ change: stop })}
          onSkip={(stop) => setAsking({ skip: stop })}
          onLink={(stop) => setAsking({ link: stop })}
          onError={setError}
        />
      </section>
      <Dialogs trip={trip} etag={etag} asking={asking} onClose={() => setAsking(null)} />
    </div>
  );
}

function Dialogs({ trip, etag, asking, onClose }: { trip: Trip; etag: string | null; asking: Asking; onClose: () => void }) {
  if (asking === null) return null;
  if (asking === "addStop") return <AddStop trip={trip} etag={etag} onClose={onClose} />;
  if (typeof asking === "object" && "change" in asking) return <EditStop trip={trip} stop={asking.change} etag={etag} onClose={onClose} />;
  if (typeof asking === "object" && "link" in asking) return <LinkDialog trip={trip.id} stop={asking.link} onClose={onClose} />;
  return <TripQuestion trip={trip} etag={etag} ask={asking} onClose={onClose} />;
}

function Crumb({ day }: { day: string | null }) {
  const { s, f } = useLocale();
  return (
    <nav className="small" aria-label={s.trips.page.crumb}>
      <Link href={day === null ? "/trips" : `/trips?day=${day}`} className="crumb">
        <Icon name="left" size={12} /> {s.trips.page.crumb}
        {day !== null && ` · ${dayWords(day, f)}`}
      </Link>
    </nav>
  );
}

function Head({ trip, now, onMove }: { trip: Trip; now: number; onMove: ((move: TripMove) => void) | null }) {
  const { s, f } = useLocale();
  const route = useRoute(trip.route);
  const standing = standingOf(trip, now);
  const facts: [string, number | null][] = [
    [s.trips.page.plannedStart, trip.plannedStart],
    [s.trips.page.started, trip.startedAt],
    [s.trips.page.ended, trip.endedAt],
  ];
  return (
    <header className="page-head">
      <h1>{nameOf(trip, route.data?.data.name)}</h1>
      <span className={`badge trip-${trip.state}`}>{s.trips.states[trip.state]}</span>
      {standing !== "unknown" && <span className={`badge standing ${standing}`}>{delayWords(delayMs(trip, now), s, f)}</span>}
      <Progress trip={trip} />
      <span className="muted">
        {trip.route !== null && <Link href={`/routes/${trip.route}`}>{route.data?.data.name ?? s.trips.route}</Link>}
        {trip.route !== null && " · "}
        {trip.device === null ? s.trips.noTruck : <Link href={`/devices/${encodeURIComponent(trip.device)}`}>{trip.device}</Link>}
        {facts.map(
          ([name, at]) =>
            at !== null && (
              <span key={name}>
                {" · "}
                {name} <When at={at} />
              </span>
            ),
        )}
      </span>
      {trip.state === "abandoned" && trip.reason !== "" && <p className="muted">{s.trips.page.abandoned(trip.reason)}</p>}
      {onMove !== null && (
        <div className="end" role="group" aria-label={s.trips.page.actions}>
          {movesOf(trip).map((move) => (
            <Button key={move} kind={move === "abandon" ? "danger" : "plain"} onClick={() => onMove(move)}>
              {s.trips.moves[move]}
            </Button>
          ))}
        </div>
      )}
    </header>
  );
}
