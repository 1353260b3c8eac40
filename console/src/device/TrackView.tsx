import { useMemo, useState } from "react";
import { useSearchParams } from "wouter";
import type { Device } from "../api/devices";
import { trackFile, useTrack, type TrackFix } from "../api/history";
import { useLocale } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { Player } from "./Player";
import { dayName, dayOf, summary } from "./track";

/** One day of a vehicle on the map, with its time to play and to scrub. */
export default function TrackView({ device }: { device: Device }) {
  const { s, f } = useLocale();
  const [search, setSearch] = useSearchParams();
  const [today] = useState(() => dayName(Date.now()));
  const day = search.get("day") ?? today;
  const { from, to } = dayOf(day);
  const track = useTrack(device.id, from, to);
  const choose = (next: string) =>
    setSearch((now) => {
      now.set("day", next);
      return now;
    });
  const lastDay = device.position === null ? null : dayName(Date.parse(device.position.ts));
  return (
    <>
      <div className="toolbar">
        <IconButton icon="left" label={s.track.previousDay} onClick={() => choose(dayName(from, -1))} />
        <div className="field">
          <input
            type="date"
            aria-label={s.track.day}
            value={day}
            max={today}
            onChange={(event) => event.target.value !== "" && choose(event.target.value)}
          />
        </div>
        <IconButton icon="right" label={s.track.nextDay} disabled={day >= today} onClick={() => choose(dayName(from, 1))} />
        {day !== today && <Button onClick={() => choose(today)}>{s.track.today}</Button>}
        <span className="muted small">{s.track.timesIn(f.zone)}</span>
        <Downloads device={device.id} from={from} to={to} />
      </div>
      {track.isPending && <Loading />}
      {track.isError && <ProblemNote error={track.error} onRetry={() => void track.refetch()} />}
      {track.isSuccess && track.data.fixes.length === 0 && (
        <Empty title={s.track.empty} hint={s.track.emptyHint} icon="trail">
          {lastDay !== null && lastDay !== day && <Button onClick={() => choose(lastDay)}>{s.track.lastDay}</Button>}
        </Empty>
      )}
      {track.isSuccess && track.data.fixes.length > 0 && (
        <>
          <Player key={day} fixes={track.data.fixes} day={{ from, to }} />
          <Facts fixes={track.data.fixes} recorded={track.data.recorded} />
        </>
      )}
    </>
  );
}

function Downloads({ device, from, to }: { device: string; from: number; to: number }) {
  const { s } = useLocale();
  return (
    <div className="row-actions end" role="group" aria-label={s.track.download}>
      <Icon name="download" />
      {(["csv", "geojson", "gpx"] as const).map((format) => (
        <a key={format} href={trackFile(device, from, to, format)} download>
          {format === "geojson" ? "GeoJSON" : format.toUpperCase()}
        </a>
      ))}
    </div>
  );
}

function Facts({ fixes, recorded }: { fixes: readonly TrackFix[]; recorded: number }) {
  const { s, f } = useLocale();
  const sum = useMemo(() => summary(fixes), [fixes]);
  const facts: [string, string][] = [
    [s.track.distance, f.distance(sum.distanceM)],
    [s.track.driving, f.duration(sum.drivingMs)],
    [s.track.standing, f.duration(sum.standingMs)],
    [s.track.topSpeed, f.speed(sum.topMps)],
    [s.track.points, f.integer(recorded)],
  ];
  return (
    <section>
      <dl className="figures">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {fixes.length < recorded && <p className="muted small">{s.track.simplified(f.integer(fixes.length))}</p>}
    </section>
  );
}
