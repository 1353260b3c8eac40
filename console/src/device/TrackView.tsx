import { useMemo } from "react";
import type { Device } from "../api/devices";
import { trackFile, useTrack, type TrackFix } from "../api/history";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { DayPicker, useDay } from "../ui/DayPicker";
import { Figures } from "../ui/Figures";
import { Icon } from "../ui/Icon";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { Player } from "./Player";
import { dayName, summary } from "./track";

/** One day of a vehicle on the map, with its time to play and to scrub. */
export default function TrackView({ device }: { device: Device }) {
  const { s, f } = useLocale();
  const chosen = useDay();
  const { day, from, to, choose } = chosen;
  const track = useTrack(device.id, from, to);
  const lastDay = device.position === null ? null : dayName(Date.parse(device.position.ts));
  return (
    <>
      <div className="toolbar">
        <DayPicker chosen={chosen} label={s.track.day} isPastOnly />
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
      <Figures facts={facts} />
      {fixes.length < recorded && <p className="muted small">{s.track.simplified(f.integer(fixes.length))}</p>}
    </section>
  );
}
