import { useMemo } from "react";
import { usePresence } from "../api/presence";
import { useLocale } from "../strings";
import { DayPicker, useDay } from "../ui/DayPicker";
import { Figures } from "../ui/Figures";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { Table, type Column } from "../ui/Table";
import { useNow } from "../ui/useNow";
import { When } from "../ui/When";
import { segments, sumOf, type Segment } from "./day";
import { reasonOf } from "./reasons";

const AGE_EVERY_MS = 5000;
const HOURS = [0, 6, 12, 18, 24];

/** When a vehicle was connected over a day, when it was not, and why. */
export default function PresenceDay({ device }: { device: string }) {
  const { s, f } = useLocale();
  const chosen = useDay();
  const { from, to } = chosen;
  const presence = usePresence(device, from, to);
  const now = useNow(AGE_EVERY_MS);
  const found = useMemo(() => segments(presence.data?.spans ?? [], { from, to }, now), [presence.data, from, to, now]);
  return (
    <>
      <div className="toolbar">
        <DayPicker chosen={chosen} label={s.track.day} isPastOnly />
        <span className="muted small">{s.track.timesIn(f.zone)}</span>
      </div>
      {presence.isPending && <Loading />}
      {presence.isError && <ProblemNote error={presence.error} onRetry={() => void presence.refetch()} />}
      {presence.isSuccess && (
        <>
          <Now online={presence.data.now.online} since={presence.data.now.since} reason={presence.data.now.disconnect_reason} />
          {presence.data.spans.length === 0 ? (
            <Empty title={s.presenceDay.empty} hint={s.presenceDay.emptyHint} icon="timeline" />
          ) : (
            <>
              <Bar found={found} />
              <Sums found={found} />
              <Spans found={found} />
            </>
          )}
        </>
      )}
    </>
  );
}

function Now({ online, since, reason }: { online: boolean; since: string | null; reason: string | null }) {
  const { s } = useLocale();
  return (
    <p className="presence-now">
      <span className={`presence ${online ? "online" : "offline"}`} aria-hidden="true" />
      <strong>{online ? s.presence.online : s.presence.offline}</strong>
      {since !== null && (
        <span className="muted">
          {s.presenceDay.since} <When at={since} />
        </span>
      )}
      {since === null && <span className="muted">{s.presenceDay.never}</span>}
      {reason !== null && <span className="muted">{reasonOf(reason, s)}</span>}
    </p>
  );
}

/** A picture of the table below it. */
function Bar({ found }: { found: readonly Segment[] }) {
  const { s, f } = useLocale();
  return (
    <figure className="presence-bar">
      <svg viewBox="0 0 1000 28" preserveAspectRatio="none" role="img" aria-label={s.presenceDay.bar}>
        <rect className="presence-rest" x="0" y="0" width="1000" height="28" />
        {found.map((each) => (
          <rect
            key={`${each.kind} ${each.from} ${each.to}`}
            className={`presence-${each.kind}`}
            x={each.start * 1000}
            y={each.kind === "offline" ? 0 : 4}
            width={Math.max(each.share * 1000, 0.8)}
            height={each.kind === "offline" ? 28 : 20}
          >
            <title>{`${s.presenceDay.kinds[each.kind]} ${f.timeOfDay(each.from)} – ${f.timeOfDay(each.to)}`}</title>
          </rect>
        ))}
      </svg>
      <div className="player-hours muted small" aria-hidden="true">
        {HOURS.map((hour) => (
          <span key={hour}>{`${hour}:00`}</span>
        ))}
      </div>
    </figure>
  );
}

function Sums({ found }: { found: readonly Segment[] }) {
  const { s, f } = useLocale();
  const sum = sumOf(found);
  const known = sum.onlineMs + sum.offlineMs;
  const facts: [string, string][] = [
    [s.presenceDay.online, f.duration(sum.onlineMs)],
    [s.presenceDay.offline, f.duration(sum.offlineMs)],
    [s.presenceDay.share, known === 0 ? "–" : f.percent((sum.onlineMs / known) * 100, 1)],
    [s.presenceDay.losses, f.integer(sum.losses)],
  ];
  return <Figures facts={facts} />;
}

function Spans({ found }: { found: readonly Segment[] }) {
  const { s, f } = useLocale();
  const rows = found.flatMap(({ span, kind, to }) => (span === null ? [] : [{ span, kind, to }])).reverse();
  const columns: Column<(typeof rows)[number]>[] = [
    {
      head: s.presenceDay.state,
      cell: ({ kind }) => (
        <>
          <span className={`presence ${kind}`} aria-hidden="true" /> {s.presenceDay.kinds[kind]}
        </>
      ),
    },
    { head: s.presenceDay.from, cell: ({ span }) => <When at={span.from} /> },
    { head: s.presenceDay.to, cell: ({ span }) => (span.to === null ? s.presenceDay.lasts : <When at={span.to} />) },
    { head: s.presenceDay.length, cell: ({ span, to }) => f.duration((span.to ?? to) - span.from) },
    { head: s.presenceDay.why, cell: ({ span }) => reasonOf(span.reason, s), className: "wrap" },
  ];
  return <Table label={s.presenceDay.title} columns={columns} keyOf={({ kind, span }) => `${kind} ${span.from} ${span.to ?? "lasts"}`} rows={rows} />;
}
