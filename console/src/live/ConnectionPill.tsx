import { useEffect, useRef, useState } from "react";
import { useLocale, type Strings } from "../strings";
import type { Connection } from "./stream";
import { useLive } from "./LiveProvider";

const NEWS_MS = 8000;

type Tone = "good" | "wait" | "bad";

/** How the line stands, for everybody: a colour and words; told to screen readers when it changes, not each second. */
export function ConnectionPill() {
  const { s } = useLocale();
  const { connection, connectNow } = useLive();
  const seconds = useCountdown(connection);
  const isNews = useIsNews(connection);
  const { tone, short, told } = describe(connection, seconds, isNews, s);
  const canHurry = connection.phase === "waiting" || connection.phase === "refused";
  return (
    <div className={`connection ${tone}`}>
      <span className="connection-dot" aria-hidden="true" />
      <span className="connection-text" aria-hidden="true">
        {short}
      </span>
      <span className="sr-only" role="status" aria-label={s.connection.label} data-phase={connection.phase}>
        {told}
      </span>
      {canHurry && (
        <button type="button" className="link" onClick={connectNow}>
          {s.connection.now}
        </button>
      )}
    </div>
  );
}

function describe(connection: Connection, seconds: number, isNews: boolean, s: Strings): { tone: Tone; short: string; told: string } {
  switch (connection.phase) {
    case "connecting":
      return { tone: "wait", short: s.connection.connecting, told: s.connection.connecting };
    case "live": {
      const told =
        connection.how === "resumed"
          ? s.connection.resumed(connection.missed)
          : connection.how === "snapshot"
            ? s.connection.snapshot
            : s.connection.live;
      return { tone: "good", short: isNews ? told : s.connection.live, told };
    }
    case "waiting": {
      const told = connection.isSlow ? s.connection.slow : s.connection.reconnectingNow;
      return { tone: "bad", short: seconds > 0 && !connection.isSlow ? s.connection.reconnecting(seconds) : told, told };
    }
    case "offline":
      return { tone: "bad", short: s.connection.offline, told: s.connection.offline };
    case "refused": {
      const told = connection.code === 4003 ? s.problems.close.revoked : s.problems.close.refused;
      return { tone: "bad", short: told, told };
    }
  }
}

function useCountdown(connection: Connection): number {
  const [now, setNow] = useState(() => Date.now());
  const isWaiting = connection.phase === "waiting";
  useEffect(() => {
    if (!isWaiting) return undefined;
    const tick = () => setNow(Date.now());
    tick();
    const timer = setInterval(tick, 250);
    return () => clearInterval(timer);
  }, [isWaiting]);
  return isWaiting ? Math.max(0, Math.ceil((connection.until - now) / 1000)) : 0;
}

/** Whether this state is recent enough to be told at length. */
function useIsNews(connection: Connection): boolean {
  const [old, setOld] = useState<Connection | null>(null);
  const shown = useRef(connection);
  useEffect(() => {
    shown.current = connection;
    const timer = setTimeout(() => setOld(shown.current), NEWS_MS);
    return () => clearTimeout(timer);
  }, [connection]);
  return old !== connection;
}
