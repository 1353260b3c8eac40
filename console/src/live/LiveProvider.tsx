import { createContext, use, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { address } from "../api/client";
import { useSession } from "../app/session";
import { FleetStore } from "../fleet/store";
import { tellServerTime } from "./clock";
import type { Follower } from "./channels";
import { Stream, type Connection, type World } from "./stream";

interface Live {
  fleet: FleetStore;
  connection: Connection;
  connectNow: () => void;
  stream: Stream | null;
}

const LiveContext = createContext<Live | null>(null);

const browser: World = {
  open: (on) => {
    const url = new URL(address("/v1/ws"), window.location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.onopen = on.open;
    socket.onmessage = (event) => on.text(String(event.data));
    socket.onclose = (event) => on.closed(event.code);
    return { send: (text) => socket.send(text), close: () => socket.close() };
  },
  now: () => Date.now(),
  random: Math.random,
  later: (ms, action) => {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
  isOnline: () => navigator.onLine,
};

/** The one stream of this page and the fleet it fills. Give it the tenant as `key`, so that another one starts anew. */
export function LiveProvider({ children }: { children: ReactNode }) {
  const { restart } = useSession();
  const [fleet] = useState(() => new FleetStore());
  const [connection, setConnection] = useState<Connection>({ phase: "connecting" });
  const [stream, setStream] = useState<Stream | null>(null);

  useEffect(() => {
    const running = new Stream(browser, {
      replace: (snapshot) => fleet.replace(snapshot),
      events: (events) => fleet.apply(events),
      connection: setConnection,
      serverTime: tellServerTime,
    });
    const onOnline = () => running.hurry();
    const onOffline = () => running.networkLost();
    window.addEventListener("online", onOnline);
    window.addEventListener("offline", onOffline);
    running.start();
    setStream(running);
    return () => {
      window.removeEventListener("online", onOnline);
      window.removeEventListener("offline", onOffline);
      running.stop();
    };
  }, [fleet]);

  // A handshake refused for want of a session looks like any broken line; the session itself gives the answer.
  const isInDoubt = connection.phase === "refused" || connection.phase === "waiting";
  useEffect(() => {
    if (isInDoubt) restart();
  }, [isInDoubt, restart]);

  const live = useMemo(
    () => ({ fleet, connection, connectNow: () => stream?.hurry(), stream }),
    [fleet, connection, stream],
  );
  return <LiveContext value={live}>{children}</LiveContext>;
}

export function useLive(): Live {
  const live = use(LiveContext);
  if (live === null) throw new Error("useLive outside of LiveProvider");
  return live;
}

/** Read a channel as long as the component is there; null: none. */
export function useChannel(channel: string | null, follower: Follower): void {
  const { stream } = useLive();
  const latest = useRef(follower);
  useEffect(() => {
    latest.current = follower;
  }, [follower]);
  useEffect(() => {
    if (channel === null || stream === null) return undefined;
    return stream.follow(channel, {
      snapshot: (items) => latest.current.snapshot(items),
      events: (events) => latest.current.events(events),
    });
  }, [channel, stream]);
}
