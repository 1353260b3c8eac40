import { useState } from "react";
import { useAllSites } from "../api/sites";
import { problemOf } from "../api/problem";
import { useRoute } from "../api/routes";
import { useTripChanges } from "../api/trips";
import { useVehicles } from "../fleet/useFleet";
import { useLocale } from "../strings";
import { Field, Select } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { Loading, ProblemNote } from "../ui/states";
import { nameOf, type Stop, type Trip, type TripMove } from "./model";
import { TruckSelect } from "./PlanTrip";

const MINUTE_S = 60;

interface Props {
  trip: Trip;
  etag: string | null;
  ask: TripMove | { skip: Stop };
  onClose: () => void;
}

/** Asks before a trip is changed. What somebody else did meanwhile is told, not overwritten. */
export function TripQuestion({ trip, etag, ask, onClose }: Props) {
  const { s } = useLocale();
  const { vehicles } = useVehicles();
  const changes = useTripChanges();
  const [isConflict, setConflict] = useState(false);
  const guarded = async (change: Promise<unknown>) => {
    try {
      await change;
    } catch (error) {
      setConflict(problemOf(error).status === 412);
      throw error;
    }
  };
  const name = nameOf(trip, useRoute(trip.route).data?.data.name);
  const note = isConflict && <p className="note">{s.trips.conflict}</p>;
  if (typeof ask === "object") {
    return (
      <FormDialog
        title={s.trips.ask.skip(ask.skip.name)}
        action={s.trips.stopMoves.skip}
        onClose={onClose}
        onSubmit={() => guarded(changes.skip(trip.id, ask.skip.id, etag))}
      >
        <p>{s.trips.ask.skipHint}</p>
        {note}
      </FormDialog>
    );
  }
  const hints = { assign: s.trips.ask.assignHint, start: s.trips.ask.startHint, finish: s.trips.ask.finishHint, abandon: s.trips.ask.abandonHint };
  const submit = (form: FormData) => {
    const truck = textOf(form, "truck");
    switch (ask) {
      case "assign":
        return guarded(changes.assign(trip.id, truck === "" ? null : truck, etag));
      case "start":
        return guarded(changes.start(trip.id, etag));
      case "finish":
        return guarded(changes.finish(trip.id, etag));
      case "abandon":
        return guarded(changes.abandon(trip.id, textOf(form, "reason"), etag));
    }
  };
  return (
    <FormDialog title={s.trips.ask[ask](name)} action={s.trips.moves[ask]} onClose={onClose} onSubmit={submit}>
      <p>{hints[ask]}</p>
      {ask === "assign" && (
        <TruckSelect label={s.trips.truck} name="truck" none={s.trips.ask.nobody} vehicles={vehicles.map((one) => one.device)} chosen={trip.device} />
      )}
      {ask === "abandon" && <Field label={s.trips.ask.reason} name="reason" maxLength={200} autoComplete="off" />}
      {note}
    </FormDialog>
  );
}

/** One more site for this trip, behind what is ahead. */
export function AddStop({ trip, etag, onClose }: { trip: Trip; etag: string | null; onClose: () => void }) {
  const { s } = useLocale();
  const sites = useAllSites();
  const { addStop } = useTripChanges();
  return (
    <FormDialog
      title={s.trips.addStop}
      action={s.trips.addStop}
      onClose={onClose}
      onSubmit={(form) => addStop(trip.id, { site: textOf(form, "site"), ...expectedIn(form) }, etag)}
    >
      <p className="muted">{s.trips.addStopHint}</p>
      {sites.isPending && <Loading />}
      {sites.isError && <ProblemNote error={sites.error} onRetry={() => void sites.refetch()} />}
      <Select label={s.trips.page.site} name="site" options={(sites.data ?? []).map((site) => [site.id, site.name] as const)} />
      <Expected service={null} quantity={null} />
    </FormDialog>
  );
}

/** How long the truck stands at a stop of this trip, and what is expected there. */
export function EditStop({ trip, stop, etag, onClose }: { trip: Trip; stop: Stop; etag: string | null; onClose: () => void }) {
  const { s } = useLocale();
  const { changeStop } = useTripChanges();
  const [isConflict, setConflict] = useState(false);
  const submit = async (form: FormData) => {
    try {
      await changeStop(trip.id, stop.id, expectedIn(form), etag);
    } catch (error) {
      setConflict(problemOf(error).status === 412);
      throw error;
    }
  };
  return (
    <FormDialog title={s.trips.stopMoves.changeOf(stop.name)} action={s.states.save} onClose={onClose} onSubmit={submit}>
      <Expected service={stop.serviceS} quantity={stop.quantity} />
      {isConflict && <p className="note">{s.trips.conflict}</p>}
    </FormDialog>
  );
}

function Expected({ service, quantity }: { service: number | null; quantity: number | null }) {
  const { s } = useLocale();
  const minutes = service === null ? "" : Math.round((service / MINUTE_S) * 10) / 10;
  return (
    <>
      <Field label={s.routes.serviceMin} name="service" type="number" min={0} max={1440} step="any" defaultValue={minutes} />
      <Field label={s.routes.quantity} hint={s.routes.quantityHint} name="quantity" type="number" min={0} step="any" defaultValue={quantity ?? ""} />
    </>
  );
}

/** What stands in the fields of `Expected`; left empty: nothing is expected. */
function expectedIn(form: FormData): { service_s: number | null; quantity: number | null } {
  const [service, quantity] = [textOf(form, "service"), textOf(form, "quantity")];
  return { service_s: service === "" ? null : Number(service) * MINUTE_S, quantity: quantity === "" ? null : Number(quantity) };
}
