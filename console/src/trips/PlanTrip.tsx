import { Link } from "wouter";
import { useRoutes } from "../api/routes";
import { useTripChanges } from "../api/trips";
import { useVehicles } from "../fleet/useFleet";
import { useLocale } from "../strings";
import { Dialog } from "../ui/Dialog";
import { Field, Select } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { Loading, ProblemNote } from "../ui/states";

interface Props {
  day: string;
  /** Only of this route; else one is chosen. */
  route?: string;
  onClose: () => void;
  onMade: (trip: string) => void;
}

/** Make a trip of a route for a day. */
export function PlanTrip({ day, route, onClose, onMade }: Props) {
  const { s } = useLocale();
  const routes = useRoutes();
  const { vehicles } = useVehicles();
  const { plan } = useTripChanges();
  if (!routes.isSuccess || routes.data.length === 0) {
    return (
      <Dialog title={s.trips.plan} onClose={onClose}>
        {routes.isPending && <Loading />}
        {routes.isError && <ProblemNote error={routes.error} onRetry={() => void routes.refetch()} />}
        {routes.isSuccess && (
          <>
            <p>{s.trips.planRouteless}</p>
            <Link href="/routes" className="button primary">
              {s.trips.toRoutes}
            </Link>
          </>
        )}
      </Dialog>
    );
  }
  return (
    <FormDialog
      title={s.trips.plan}
      action={s.trips.plan}
      onClose={onClose}
      onSubmit={async (form) => {
        const truck = textOf(form, "truck");
        const made = await plan({
          route: route ?? textOf(form, "route"),
          day: textOf(form, "day"),
          ...(truck === "" ? {} : { device: truck }),
        });
        onMade(made.id);
      }}
    >
      <p className="muted">{s.trips.planHint}</p>
      {route === undefined && (
        <Select label={s.trips.route} name="route" options={routes.data.map((one) => [one.id, one.name] as const)} />
      )}
      <Field label={s.trips.day} name="day" type="date" defaultValue={day} required />
      <TruckSelect label={s.trips.truck} name="truck" none={s.trips.itsTruck} vehicles={vehicles.map((one) => one.device)} />
    </FormDialog>
  );
}

interface TruckProps {
  label: string;
  name: string;
  none: string;
  vehicles: readonly string[];
  chosen?: string | null;
}

/** One of the fleet, or none. */
export function TruckSelect({ label, name, none, vehicles, chosen = null }: TruckProps) {
  const names = chosen === null || vehicles.includes(chosen) ? vehicles : [chosen, ...vehicles];
  return <Select label={label} name={name} defaultValue={chosen ?? ""} options={[["", none], ...names.map((one) => [one, one] as const)]} />;
}
