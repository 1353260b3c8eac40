import { useState } from "react";
import { makeLink } from "../api/trips";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Copyable } from "../ui/Copyable";
import { Dialog } from "../ui/Dialog";
import { ProblemNote } from "../ui/states";
import { When } from "../ui/When";
import type { Stop } from "./model";

interface Made {
  url: string;
  until: string;
}

/** A link for whoever waits at a stop: made once, shown to be copied. */
export function LinkDialog({ trip, stop, onClose }: { trip: string; stop: Stop; onClose: () => void }) {
  const { s } = useLocale();
  const [made, setMade] = useState<Made | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const make = async () => {
    setBusy(true);
    setError(null);
    try {
      const link = await makeLink(trip, stop.id);
      // The page is where the console is, whatever name the server knows itself by.
      setMade({ url: new URL(`/t/${link.token}`, window.location.href).href, until: link.expires_at });
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  return (
    <Dialog title={s.trips.link.title(stop.name)} onClose={onClose}>
      <p>{s.trips.link.lead}</p>
      {made === null ? (
        <div className="dialog-foot">
          <Button onClick={onClose}>{s.states.cancel}</Button>
          <Button kind="primary" icon="link" isBusy={isBusy} onClick={() => void make()}>
            {s.trips.link.make}
          </Button>
        </div>
      ) : (
        <>
          <Copyable value={made.url} />
          <p className="muted small">
            {s.trips.link.until} <When at={made.until} />
          </p>
          <div className="dialog-foot">
            <a className="button" href={made.url} target="_blank" rel="noreferrer">
              {s.trips.link.open}
            </a>
            <Button kind="primary" onClick={onClose}>
              {s.states.close}
            </Button>
          </div>
        </>
      )}
      {error !== null && <ProblemNote error={error} />}
    </Dialog>
  );
}
