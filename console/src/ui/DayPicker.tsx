import { useState } from "react";
import { useSearchParams } from "wouter";
import { dayName, dayOf } from "../device/track";
import { serverNow } from "../live/clock";
import { useLocale } from "../strings";
import { Button, IconButton } from "./Button";

export interface ChosenDay {
  /** `YYYY-MM-DD` on the reader's clock, as in the page's address. */
  day: string;
  today: string;
  /** Its begin and its end (epoch ms). */
  from: number;
  to: number;
  choose: (day: string) => void;
}

/** The day a page tells of: that of its address, else today. */
export function useDay(): ChosenDay {
  const [search, setSearch] = useSearchParams();
  const [today] = useState(() => dayName(serverNow()));
  const day = search.get("day") ?? today;
  const choose = (next: string) =>
    setSearch((now) => {
      now.set("day", next);
      return now;
    });
  return { day, today, ...dayOf(day), choose };
}

interface Props {
  chosen: ChosenDay;
  label: string;
  /** There is nothing to see of tomorrow. */
  isPastOnly?: boolean;
}

/** One day, the one before and the one after. */
export function DayPicker({ chosen: { day, today, from, choose }, label, isPastOnly = false }: Props) {
  const { s } = useLocale();
  const isLast = isPastOnly && day >= today;
  return (
    <div className="day-picker">
      <IconButton icon="left" label={s.track.previousDay} onClick={() => choose(dayName(from, -1))} />
      <div className="field">
        <input
          type="date"
          aria-label={label}
          value={day}
          max={isPastOnly ? today : undefined}
          onChange={(event) => event.target.value !== "" && choose(event.target.value)}
        />
      </div>
      <IconButton icon="right" label={s.track.nextDay} disabled={isLast} onClick={() => choose(dayName(from, 1))} />
      {day !== today && <Button onClick={() => choose(today)}>{s.track.today}</Button>}
    </div>
  );
}
