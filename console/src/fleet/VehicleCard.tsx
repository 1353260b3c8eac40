import { Link } from "wouter";
import { useLocale } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { lastSeen, motionOf, type Vehicle } from "./model";
import { MotionGlyph } from "./MotionGlyph";

interface Props {
  vehicle: Vehicle;
  now: number;
  isFollowing: boolean;
  onFollow: (isFollowing: boolean) => void;
  onClose: () => void;
}

/** The selected vehicle at a glance, over the map. */
export function VehicleCard({ vehicle, now, isFollowing, onFollow, onClose }: Props) {
  const { s, f } = useLocale();
  const motion = motionOf(vehicle, now);
  const fix = vehicle.position;
  const seen = lastSeen(vehicle);
  const labels = Object.entries(vehicle.labels);
  return (
    <section className="card" aria-label={vehicle.device}>
      <header className="card-head">
        <MotionGlyph motion={motion} heading={fix?.heading} />
        <div>
          <h2>{vehicle.device}</h2>
          <p className="muted small">
            {s.motion[motion]}
            {seen !== null && ` · ${f.ago(Math.min(seen, now), now)}`}
          </p>
        </div>
        <IconButton icon="close" label={s.map.unselect} onClick={onClose} />
      </header>
      {fix === null ? (
        <p className="muted">{s.map.noFix}</p>
      ) : (
        <dl className="facts">
          <Fact name={s.map.speed} value={f.speed(fix.speed)} />
          <Fact name={s.map.heading} value={f.degrees(fix.heading)} />
          {fix.alt !== undefined && <Fact name={s.map.altitude} value={f.distance(fix.alt)} kind="extra" />}
          {fix.acc !== undefined && <Fact name={s.map.accuracy} value={`± ${f.distance(fix.acc)}`} kind="extra" />}
          <Fact name={s.map.position} value={f.coordinates(fix.lat, fix.lon)} kind="wide" />
          <Fact name={s.map.lastFix} value={f.time(fix.ts)} kind="wide" />
        </dl>
      )}
      {labels.length > 0 && (
        <ul className="labels" aria-label={s.fleet.labels}>
          {labels.map(([name, value]) => (
            <li key={name}>
              <span className="muted">{name}</span> {value}
            </li>
          ))}
        </ul>
      )}
      <footer className="card-foot">
        <Button icon="target" aria-pressed={isFollowing} disabled={fix === null} onClick={() => onFollow(!isFollowing)}>
          {isFollowing ? s.map.following : s.map.follow}
        </Button>
        <Link href={`/devices/${encodeURIComponent(vehicle.device)}`} className="button primary">
          {s.map.details}
        </Link>
      </footer>
    </section>
  );
}

function Fact({ name, value, kind = "" }: { name: string; value: string; kind?: "" | "wide" | "extra" }) {
  return (
    <div className={kind}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
