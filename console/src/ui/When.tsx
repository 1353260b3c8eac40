import { serverNow } from "../live/clock";
import { useLocale } from "../strings";

/** An instant of the API, in words where it is near and as a date where it is far; the full time is its tooltip. */
export function When({ at, isRelative = false }: { at: string | number; isRelative?: boolean }) {
  const { f } = useLocale();
  const ms = typeof at === "number" ? at : Date.parse(at);
  return (
    <time dateTime={new Date(ms).toISOString()} title={f.time(ms)}>
      {isRelative ? f.ago(ms, serverNow()) : f.time(ms)}
    </time>
  );
}
