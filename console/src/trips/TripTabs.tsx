import { Link } from "wouter";
import { useLocale } from "../strings";

const TABS = { day: "/trips", routes: "/routes", accuracy: "/accuracy" } as const;

/** Between the day's trips, the routes they are made from, and how good their times were. */
export function TripTabs({ here }: { here: keyof typeof TABS }) {
  const { s } = useLocale();
  return (
    <nav className="tabs" aria-label={s.trips.sections}>
      {(Object.keys(TABS) as (keyof typeof TABS)[]).map((tab) => (
        <Link key={tab} href={TABS[tab]} aria-current={tab === here ? "page" : undefined}>
          {s.trips.tabs[tab]}
        </Link>
      ))}
    </nav>
  );
}
