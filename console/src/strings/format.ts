/** Numbers, times and units as people of a language write them. Input is SI and epoch milliseconds throughout. */
export interface Format {
  integer: (value: number) => string;
  number: (value: number, digits?: number) => string;
  /** m/s in, km/h out. */
  speed: (mps: number | null | undefined) => string;
  distance: (metres: number) => string;
  degrees: (value: number | null | undefined) => string;
  coordinates: (lat: number, lon: number) => string;
  duration: (ms: number) => string;
  /** To the second, for what is measured: "1 min 14 secs". */
  exactly: (ms: number) => string;
  /** 0 to 100 in. */
  percent: (value: number, digits?: number) => string;
  time: (at: number) => string;
  timeOfDay: (at: number) => string;
  /** To the minute. */
  hour: (at: number) => string;
  date: (at: number) => string;
  day: (at: number) => string;
  /** "now", "3 minutes ago", "in 2 days". */
  ago: (at: number, now: number) => string;
  /** In a currency of ISO 4217. */
  money: (value: number, currency: string) => string;
  zone: string;
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
];
const COMPASS = 8;
const JUST_NOW_MS = 10_000;

export function formatFor(locale: string, compass: readonly string[]): Format {
  const integer = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  const decimals = [0, 1, 2, 3, 4, 5].map(
    (digits) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits, minimumFractionDigits: 0 }),
  );
  const fixed5 = new Intl.NumberFormat(locale, { minimumFractionDigits: 5, maximumFractionDigits: 5 });
  const unit = (name: string, digits = 0) =>
    new Intl.NumberFormat(locale, { style: "unit", unit: name, maximumFractionDigits: digits });
  const [kmh, metre, km] = [unit("kilometer-per-hour"), unit("meter"), unit("kilometer", 1)];
  const [hours, minutes, seconds] = [unit("hour"), unit("minute"), unit("second")];
  const dateTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
  const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
  const hour = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
  const date = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
  const day = new Intl.DateTimeFormat(locale, { weekday: "short", day: "numeric", month: "short", year: "numeric" });
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const number = (value: number, digits = 2) => (decimals[digits] ?? integer).format(value);
  return {
    integer: (value) => integer.format(value),
    number,
    speed: (mps) => (mps === null || mps === undefined ? "–" : kmh.format(mps * 3.6)),
    distance: (metres) => (metres < 1000 ? metre.format(metres) : km.format(metres / 1000)),
    degrees: (value) =>
      value === null || value === undefined
        ? "–"
        : `${integer.format(value)}° ${compass[Math.round(value / 45) % COMPASS] ?? ""}`,
    coordinates: (lat, lon) => `${fixed5.format(lat)}° ${fixed5.format(lon)}°`,
    duration: (ms) => {
      const total = Math.round(ms / 1000);
      const [h, m] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60)];
      if (h > 0) return `${hours.format(h)} ${minutes.format(m)}`;
      return m > 0 ? minutes.format(m) : seconds.format(total);
    },
    exactly: (ms) => {
      const total = Math.round(ms / 1000);
      const [m, sec] = [Math.floor(total / 60), total % 60];
      return [...(m > 0 ? [minutes.format(m)] : []), ...(sec > 0 || m === 0 ? [seconds.format(sec)] : [])].join(" ");
    },
    percent: (value, digits = 0) => new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: digits }).format(value / 100),
    time: (at) => dateTime.format(at),
    timeOfDay: (at) => clock.format(at),
    hour: (at) => hour.format(at),
    date: (at) => date.format(at),
    day: (at) => day.format(at),
    ago: (at, now) => {
      const past = Math.abs(at - now) < JUST_NOW_MS ? 0 : at - now;
      const [name, ms] = STEPS.find(([, size]) => Math.abs(past) >= size) ?? ["second", 1000];
      return relative.format(Math.trunc(past / ms), name);
    },
    money: (value, currency) => new Intl.NumberFormat(locale, { style: "currency", currency, currencyDisplay: "narrowSymbol" }).format(value),
    zone: new Intl.DateTimeFormat(locale).resolvedOptions().timeZone,
  };
}
