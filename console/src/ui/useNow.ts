import { useEffect, useState } from "react";
import { serverNow } from "../live/clock";

/** The server's time, anew every `everyMs`: for ages in words and for states that come with age. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(serverNow);
  useEffect(() => {
    const timer = setInterval(() => setNow(serverNow()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
