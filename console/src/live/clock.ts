let offsetMs = 0;

/** The server's clock as its pings tell it: a wrong clock on this machine must not make every truck stale. */
export function serverNow(): number {
  return Date.now() + offsetMs;
}

export function tellServerTime(at: number): void {
  offsetMs = at - Date.now();
}
