import { useMemo, useState } from "react";
import { useLocation, useSearchParams } from "wouter";
import { useRoutes } from "../api/routes";
import { MOST_TRIPS, useTrips } from "../api/trips";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { DayPicker, useDay } from "../ui/DayPicker";
import { Select } from "../ui/Field";
import { Forbidden } from "../ui/Forbidden";
import { SearchField } from "../ui/SearchField";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { useNow } from "../ui/useNow";
import { byUrgency, countStandings, NO_TRIP_FILTER, passes, STANDINGS, TRIP_STATES, type Standing, type Trip, type TripFilter, type TripState } from "./model";
import { PlanTrip } from "./PlanTrip";
import { Timeline } from "./Timeline";
import { TripList } from "./TripList";
import { TripTabs } from "./TripTabs";

const NOW_EVERY_MS = 5000;

export default function TripsPage() {
  return useMay("trips:read") ? <Page /> : <Forbidden />;
}

/** The trips of one day: where each stands against its plan, delays first. */
function Page() {
  const { s, f } = useLocale();
  const [search, setSearch] = useSearchParams();
  const chosen = useDay();
  const { day } = chosen;
  const isTimeline = search.get("view") === "timeline";
  const trips = useTrips({ day });
  const routes = useRoutes();
  const names = useMemo(() => new Map(routes.data?.map((route) => [route.id, route.name])), [routes.data]);
  const now = useNow(NOW_EVERY_MS);
  const [filter, setFilter] = useState<TripFilter>(NO_TRIP_FILTER);
  const show = (view: "list" | "timeline") =>
    setSearch((params) => {
      params.set("view", view);
      return params;
    });
  const all = trips.data?.trips ?? [];
  const shown = byUrgency(all, now).filter((trip) => passes(trip, filter, now, names));
  return (
    <div className="page wide">
      <TripTabs here="day" />
      <header className="page-head">
        <h1>{s.trips.title}</h1>
        <DayPicker chosen={chosen} label={s.trips.day} />
        <div className="end">
          <div className="switch" role="group" aria-label={s.trips.view}>
            <Button aria-pressed={!isTimeline} icon="list" onClick={() => show("list")}>
              {s.trips.views.list}
            </Button>
            <Button aria-pressed={isTimeline} icon="timeline" onClick={() => show("timeline")}>
              {s.trips.views.timeline}
            </Button>
          </div>
          <Plan day={day} />
        </div>
      </header>
      {trips.isPending && <Loading />}
      {trips.isError && <ProblemNote error={trips.error} onRetry={() => void trips.refetch()} />}
      {trips.isSuccess && all.length === 0 && <Empty title={s.trips.empty} hint={s.trips.emptyHint} icon="route" />}
      {all.length > 0 && (
        <>
          <Filters all={all} shown={shown.length} now={now} filter={filter} onFilter={setFilter} />
          {trips.data?.isCut === true && <p className="note">{s.trips.tooMany(f.integer(MOST_TRIPS))}</p>}
          {shown.length === 0 ? (
            <Empty title={s.trips.noMatch} hint={s.trips.noMatchHint} icon="filter">
              <Button onClick={() => setFilter(NO_TRIP_FILTER)}>{s.trips.clear}</Button>
            </Empty>
          ) : isTimeline ? (
            <Timeline trips={shown} routes={names} now={now} />
          ) : (
            <TripList trips={shown} routes={names} now={now} />
          )}
        </>
      )}
    </div>
  );
}

interface FilterProps {
  all: readonly Trip[];
  shown: number;
  now: number;
  filter: TripFilter;
  onFilter: (filter: TripFilter) => void;
}

function Filters({ all, shown, now, filter, onFilter }: FilterProps) {
  const { s, f } = useLocale();
  const counts = countStandings(all, now);
  const toggle = (standing: Standing) => onFilter({ ...filter, standing: filter.standing === standing ? null : standing });
  return (
    <div className="toolbar">
      <SearchField label={s.trips.search} hint={s.trips.searchHint} value={filter.text} onText={(text) => onFilter({ ...filter, text })} />
      <Select
        label={s.trips.state}
        isLabelHidden
        value={filter.state ?? ""}
        options={[["", s.trips.anyState], ...TRIP_STATES.map((state) => [state, s.trips.states[state]] as const)]}
        onPick={(state) => onFilter({ ...filter, state: state === "" ? null : (state as TripState) })}
      />
      <div className="chip-row" role="group" aria-label={s.trips.standing}>
        {STANDINGS.map((standing) => (
          <button
            key={standing}
            type="button"
            className="chip"
            aria-pressed={filter.standing === standing}
            title={s.trips.standingHint[standing]}
            onClick={() => toggle(standing)}
          >
            <span className={`dot ${standing}`} aria-hidden="true" />
            <span>{s.trips.standings[standing]}</span>
            <span className="chip-count">{f.integer(counts[standing])}</span>
          </button>
        ))}
      </div>
      <span className="small muted" role="status">
        {s.trips.count(f.integer(shown), f.integer(all.length))}
      </span>
    </div>
  );
}

function Plan({ day }: { day: string }) {
  const { s } = useLocale();
  const mayWrite = useMay("trips:write");
  const [, go] = useLocation();
  const [isPlanning, setPlanning] = useState(false);
  if (!mayWrite) return null;
  return (
    <>
      <Button kind="primary" icon="plus" onClick={() => setPlanning(true)}>
        {s.trips.plan}
      </Button>
      {isPlanning && <PlanTrip day={day} onClose={() => setPlanning(false)} onMade={(trip) => go(`/trips/${trip}`)} />}
    </>
  );
}
