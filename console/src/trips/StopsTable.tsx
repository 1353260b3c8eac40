import { useState } from "react";
import { Link } from "wouter";
import { useTripChanges } from "../api/trips";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { isOver, moved, nextStop, stopDelayMs, type Stop, type Trip } from "./model";
import { bandWords, delayWords } from "./words";

interface Props {
  trip: Trip;
  etag: string | null;
  mayWrite: boolean;
  onChange: (stop: Stop) => void;
  onSkip: (stop: Stop) => void;
  onLink: (stop: Stop) => void;
  onError: (error: unknown) => void;
}

/** Every stop: planned, expected, actual, and what may be done with it. */
export function StopsTable({ trip, etag, mayWrite, onChange, onSkip, onLink, onError }: Props) {
  const { s, f } = useLocale();
  const words = s.trips.page;
  const { order, unskip } = useTripChanges();
  const [isBusy, setBusy] = useState(false);
  const mayLink = useMay("trips:write") && !isOver(trip);
  const next = nextStop(trip);
  const hasQuantity = trip.stops.some((stop) => stop.quantity !== null);
  const run = (change: Promise<unknown>) => {
    setBusy(true);
    onError(null);
    void change.catch(onError).finally(() => setBusy(false));
  };
  return (
    <div className="table-wrap">
      <table aria-label={words.stops}>
        <thead>
          <tr>
            <th scope="col" className="number">
              #
            </th>
            {[words.stop, words.state, words.planned, words.eta, words.actual].map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
            {hasQuantity && (
              <th scope="col" className="number">
                {s.routes.quantity}
              </th>
            )}
            {!isOver(trip) && (mayWrite || mayLink) && <th scope="col">{words.actions}</th>}
          </tr>
        </thead>
        <tbody>
          {trip.stops.map((stop, index) => (
            <tr key={stop.id} className={stop.id === next?.id ? "is-next" : ""}>
              <td className="number">{index + 1}</td>
              <td>
                <Link href={`/sites/${stop.site}`}>{stop.name}</Link>
              </td>
              <td>
                <span className={`badge stop-${stop.state}`}>{words.stopStates[stop.state]}</span>
              </td>
              <td>{stop.plannedAt === null ? "–" : f.hour(stop.plannedAt)}</td>
              <td>
                {stop.eta !== null && stop.state === "planned" && !isOver(trip) ? (
                  <>
                    <strong>{f.hour(stop.eta.at)}</strong> <span className="muted small">{bandWords(stop.eta, s, f)}</span>
                  </>
                ) : (
                  "–"
                )}
              </td>
              <td>
                {stop.arrivedAt === null ? "–" : f.timeOfDay(stop.arrivedAt)}
                {stop.departedAt !== null && <span className="muted small"> {words.left(f.timeOfDay(stop.departedAt))}</span>}
                {stopDelayMs(stop) !== null && stop.arrivedAt !== null && (
                  <p className="muted small">{delayWords(stopDelayMs(stop), s, f)}</p>
                )}
              </td>
              {hasQuantity && <td className="number">{stop.quantity === null ? "–" : f.number(stop.quantity)}</td>}
              {!isOver(trip) && (mayWrite || mayLink) && (
                <td>
                  <span className="row-actions">
                    {stop.state === "planned" && mayWrite && (
                      <>
                        <MoveButton trip={trip} stop={stop} step={-1} isBusy={isBusy} onMove={(ids) => run(order(trip.id, ids, etag))} />
                        <MoveButton trip={trip} stop={stop} step={1} isBusy={isBusy} onMove={(ids) => run(order(trip.id, ids, etag))} />
                        <IconButton icon="edit" label={s.trips.stopMoves.changeOf(stop.name)} onClick={() => onChange(stop)} />
                        <Button aria-label={s.trips.stopMoves.skipOf(stop.name)} onClick={() => onSkip(stop)}>
                          {s.trips.stopMoves.skip}
                        </Button>
                      </>
                    )}
                    {stop.state === "skipped" && mayWrite && (
                      <Button
                        aria-label={s.trips.stopMoves.unskipOf(stop.name)}
                        isBusy={isBusy}
                        onClick={() => run(unskip(trip.id, stop.id, etag))}
                      >
                        {s.trips.stopMoves.unskip}
                      </Button>
                    )}
                    {stop.state === "planned" && mayLink && (
                      <IconButton icon="link" label={s.trips.stopMoves.linkOf(stop.name)} onClick={() => onLink(stop)} />
                    )}
                  </span>
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface MoveProps {
  trip: Trip;
  stop: Stop;
  step: -1 | 1;
  isBusy: boolean;
  onMove: (ahead: string[]) => void;
}

function MoveButton({ trip, stop, step, isBusy, onMove }: MoveProps) {
  const { s } = useLocale();
  const ahead = moved(trip, stop.id, step);
  return (
    <IconButton
      icon={step === -1 ? "up" : "down"}
      label={(step === -1 ? s.trips.stopMoves.up : s.trips.stopMoves.down)(stop.name)}
      disabled={ahead === null || isBusy}
      onClick={() => ahead !== null && onMove(ahead)}
    />
  );
}
