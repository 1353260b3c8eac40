import type { LiveEvent, VehicleState } from "../live/protocol";
import { after, vehicleOf, type Vehicle } from "./model";
import { Glide } from "./motion";
import { Trail } from "./trail";

/** How often lists and counts are told of news; the map reads the glides in each frame by itself. */
const NOTIFY_EVERY_MS = 400;

/**
 * The fleet as the stream tells it. Vehicles are replaced, never changed, so `===` says whether one has news. Events
 * of one interval come to the listeners together: of ten positions of a truck within it only the last is ever drawn.
 */
export class FleetStore {
  readonly vehicles = new Map<string, Vehicle>();
  readonly glides = new Map<string, Glide>();
  readonly trails = new Map<string, Trail>();
  /** Grows with each batch of news. */
  version = 0;
  /** False until the first snapshot is here. */
  isFilled = false;
  /** Names in the order of the list; null when one came or went. */
  private names: string[] | null = null;
  private readonly listeners = new Set<() => void>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private readonly now: () => number;

  /** `now`: the page's clock in ms that the map draws by. */
  constructor(now: () => number = () => performance.now()) {
    this.now = now;
  }

  replace(snapshot: readonly VehicleState[]): void {
    const names = new Set(snapshot.map((state) => state.device));
    for (const name of this.vehicles.keys()) if (!names.has(name)) this.forget(name);
    for (const state of snapshot) {
      this.put(vehicleOf(state));
      if (state.position === null) {
        this.glides.delete(state.device);
        this.trails.delete(state.device);
      } else {
        this.draw(state.device, state.position);
      }
    }
    this.isFilled = true;
    this.changed();
  }

  apply(events: readonly LiveEvent[]): void {
    for (const event of events) {
      const name = event.data.device;
      const before = this.vehicles.get(name);
      const next = after(before, event);
      if (next === null) this.forget(name);
      else if (next !== before) {
        this.put(next);
        if (event.type === "position" && next.position !== null) this.draw(name, next.position);
      }
    }
    this.changed();
  }

  /** Every vehicle by name, as people sort: truck-2 before truck-10. */
  list(): readonly Vehicle[] {
    this.names ??= [...this.vehicles.keys()].sort((a, b) => BY_NAME.compare(a, b));
    return this.names.flatMap((name) => this.vehicles.get(name) ?? []);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  private put(vehicle: Vehicle): void {
    if (!this.vehicles.has(vehicle.device)) this.names = null;
    this.vehicles.set(vehicle.device, vehicle);
  }

  private draw(name: string, fix: NonNullable<Vehicle["position"]>): void {
    const glide = this.glides.get(name);
    if (glide === undefined) this.glides.set(name, new Glide(fix));
    else glide.fix(fix, this.now());
    let trail = this.trails.get(name);
    if (trail === undefined) this.trails.set(name, (trail = new Trail()));
    trail.add(fix);
  }

  private forget(name: string): void {
    if (this.vehicles.delete(name)) this.names = null;
    this.glides.delete(name);
    this.trails.delete(name);
  }

  private changed(): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.version += 1;
      for (const listener of this.listeners) listener();
    }, NOTIFY_EVERY_MS);
  }
}

const BY_NAME = new Intl.Collator("en", { numeric: true });
