import { lazy, Suspense } from "react";
import { Link, useSearchParams } from "wouter";
import { useDevice, type Device } from "../api/devices";
import { useMay } from "../app/session";
import type { Scope } from "../api/session";
import { motionOf } from "../fleet/model";
import { MotionGlyph } from "../fleet/MotionGlyph";
import { useVehicle } from "../fleet/useFleet";
import { useLocale } from "../strings";
import { Icon } from "../ui/Icon";
import { Loading, ProblemNote } from "../ui/states";
import { Tabs } from "../ui/Tabs";
import { useNow } from "../ui/useNow";
import { DeadLetters } from "./DeadLetters";
import { Events } from "./Events";
import { Identity } from "./Identity";
import { Metrics } from "./Metrics";

const TrackView = lazy(() => import("./TrackView"));
const PresenceDay = lazy(() => import("../twin/PresenceDay"));
const ShadowView = lazy(() => import("../twin/ShadowView"));
const DeviceCommands = lazy(() => import("../control/DeviceCommands"));
const AGE_EVERY_MS = 1000;

const TABS = {
  track: "telemetry:read",
  presence: "telemetry:read",
  shadow: "shadows:read",
  commands: "commands:read",
  metrics: "telemetry:read",
  events: "events:read",
  deadLetters: "dead_letters:read",
  identity: "devices:read",
} as const satisfies Record<string, Scope>;
type Tab = keyof typeof TABS;

export default function DevicePage({ device: name }: { device: string }) {
  const { s } = useLocale();
  const device = useDevice(name);
  if (device.isPending) return <Loading />;
  if (device.isError) {
    return (
      <div className="page">
        <Crumb />
        <ProblemNote error={device.error} onRetry={() => void device.refetch()} />
        <Link href="/">{s.app.backToMap}</Link>
      </div>
    );
  }
  return <Page device={device.data.data} etag={device.data.etag} />;
}

function Page({ device, etag }: { device: Device; etag: string | null }) {
  const { s } = useLocale();
  const [search] = useSearchParams();
  const may = {
    track: useMay(TABS.track),
    presence: useMay(TABS.presence),
    shadow: useMay(TABS.shadow),
    commands: useMay(TABS.commands),
    metrics: useMay(TABS.metrics),
    events: useMay(TABS.events),
    deadLetters: useMay(TABS.deadLetters),
    identity: useMay(TABS.identity),
  };
  const tabs = (Object.keys(TABS) as Tab[]).filter((tab) => may[tab]);
  const asked = search.get("tab");
  const shown = tabs.find((tab) => tab === asked) ?? tabs[0];
  return (
    <div className="page">
      <Crumb />
      <Head device={device} />
      <Tabs label={s.device.sections} tabs={tabs.map((tab) => ({ href: `?tab=${tab}`, name: s.device.tabs[tab], isHere: tab === shown }))} />
      <Suspense fallback={<Loading />}>
        {shown === "track" && <TrackView device={device} />}
        {shown === "presence" && <PresenceDay device={device.id} />}
        {shown === "shadow" && <ShadowView device={device.id} />}
        {shown === "commands" && <DeviceCommands device={device.id} />}
        {shown === "metrics" && <Metrics device={device.id} />}
        {shown === "events" && <Events device={device.id} />}
        {shown === "deadLetters" && <DeadLetters device={device.id} />}
        {shown === "identity" && <Identity device={device} etag={etag} />}
      </Suspense>
    </div>
  );
}

function Crumb() {
  const { s } = useLocale();
  return (
    <nav className="small" aria-label={s.device.crumb}>
      <Link href="/" className="crumb">
        <Icon name="left" size={12} /> {s.device.crumb}
      </Link>
    </nav>
  );
}

function Head({ device }: { device: Device }) {
  const { s, f } = useLocale();
  const vehicle = useVehicle(device.id);
  const now = useNow(AGE_EVERY_MS);
  const labels = Object.entries(device.labels);
  const seen = vehicle?.position?.ts ?? (device.last_seen_at === null ? null : Date.parse(device.last_seen_at));
  return (
    <header className="page-head">
      {vehicle !== null && <MotionGlyph motion={motionOf(vehicle, now)} heading={vehicle.position?.heading} />}
      <h1>{device.id}</h1>
      <span className={`badge ${device.status}`}>{s.status[device.status]}</span>
      <span className="muted">
        {device.type}
        {vehicle !== null && ` · ${s.motion[motionOf(vehicle, now)]}`}
        {vehicle?.position?.speed !== undefined && motionOf(vehicle, now) === "moving" && ` · ${f.speed(vehicle.position.speed)}`}
        {` · ${s.device.lastSeen}: ${seen === null ? s.fleet.never : f.ago(Math.min(seen, now), now)}`}
      </span>
      {labels.length > 0 && (
        <ul className="labels" aria-label={s.device.labels}>
          {labels.map(([name, value]) => (
            <li key={name}>
              <span className="muted">{name}</span> {value}
            </li>
          ))}
        </ul>
      )}
      <div className="end">
        <Link href={`/?vehicle=${encodeURIComponent(device.id)}`} className="button">
          <Icon name="target" /> {s.device.onMap}
        </Link>
      </div>
    </header>
  );
}
