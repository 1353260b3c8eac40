import { useEffect, useMemo, useRef, useState, type KeyboardEvent } from "react";
import type { TrackFix } from "../api/history";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Select } from "../ui/Field";
import { SpeedProfile } from "./SpeedProfile";
import { hoursOf, momentAt } from "./track";
import { TrackMap } from "./TrackMap";

const FACTORS = [10, 60, 300] as const;
const MINUTE_MS = 60_000;
const QUARTERS = [0, 0.25, 0.5, 0.75, 1];

/** The track's map, and the time on it: played, scrubbed, or moved by keys. */
export function Player({ fixes, day }: { fixes: readonly TrackFix[]; day: { from: number; to: number } }) {
  const { s, f } = useLocale();
  const { from, to } = hoursOf(fixes, day);
  const first = fixes[0]?.ts ?? from;
  const last = fixes.at(-1)?.ts ?? to;
  const [at, setAt] = useState(last);
  const [isPlaying, setPlaying] = useState(false);
  const [factor, setFactor] = useState<number>(FACTORS[1]);
  const clock = useRef(at);

  const seek = (time: number) => {
    clock.current = Math.max(from, Math.min(to - 1, time));
    setAt(clock.current);
  };
  const toggle = () => {
    if (!isPlaying && clock.current >= last) seek(first);
    setPlaying(!isPlaying);
  };

  useEffect(() => {
    if (!isPlaying) return undefined;
    let before = performance.now();
    let handle = requestAnimationFrame(function step(now) {
      clock.current = Math.min(last, clock.current + (now - before) * factor);
      before = now;
      setAt(clock.current);
      if (clock.current >= last) setPlaying(false);
      else handle = requestAnimationFrame(step);
    });
    return () => cancelAnimationFrame(handle);
  }, [isPlaying, factor, last]);

  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.shiftKey ? 10 * MINUTE_MS : MINUTE_MS;
    if (event.key === " ") toggle();
    else if (event.key === "ArrowRight" || event.key === "ArrowUp") seek(clock.current + step);
    else if (event.key === "ArrowLeft" || event.key === "ArrowDown") seek(clock.current - step);
    else if (event.key === "Home") seek(first);
    else if (event.key === "End") seek(last);
    else return;
    event.preventDefault();
  };

  const moment = useMemo(() => momentAt(fixes, at), [fixes, at]);
  return (
    <section className="player">
      <TrackMap fixes={fixes} at={at} moment={moment} />
      <div className="player-bar">
        <Button kind="primary" icon={isPlaying ? "pause" : "play"} onClick={toggle}>
          {isPlaying ? s.track.pause : s.track.play}
        </Button>
        <Select
          label={s.track.speed}
          isLabelHidden
          value={String(factor)}
          options={FACTORS.map((one) => [String(one), s.track.times(one)] as const)}
          onPick={(value) => setFactor(Number(value))}
        />
        <output className="player-now">
          <strong>{f.timeOfDay(at)}</strong>
          {moment !== null && (
            <span className="muted">
              {moment.isKnown ? ` ${f.speed(moment.speed)} · ${f.degrees(moment.heading)}` : ` ${s.track.unknown}`}
            </span>
          )}
        </output>
      </div>
      <div className="player-time">
        <SpeedProfile fixes={fixes} from={from} to={to} at={at} />
        <input
          type="range"
          aria-label={s.track.slider}
          aria-valuetext={f.timeOfDay(at)}
          min={from}
          max={to - 1}
          step={1000}
          value={at}
          onChange={(event) => seek(Number(event.target.value))}
          onKeyDown={onKeyDown}
        />
        <div className="player-hours muted small" aria-hidden="true">
          {QUARTERS.map((share) => (
            <span key={share}>{f.hour(from + (to - from) * share)}</span>
          ))}
        </div>
      </div>
    </section>
  );
}
