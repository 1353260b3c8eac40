import { Link } from "wouter";
import { useMay } from "../app/session";
import { useLocale } from "../strings";

const TABS = { day: "/trips", routes: "/routes", accuracy: "/accuracy", maps: "/maps" } as const;

/** Between the day's trips, the routes they are made from, and how good their times were and what maps cost. */
export function TripTabs({ here }: { here: keyof typeof TABS }) {
  const { s } = useLocale();
  const mayMaps = useMay("sites:read");
  const tabs = (Object.keys(TABS) as (keyof typeof TABS)[]).filter((tab) => tab !== "maps" || mayMaps);
  return (
    <nav className="tabs" aria-label={s.trips.sections}>
      {tabs.map((tab) => (
        <Link key={tab} href={TABS[tab]} aria-current={tab === here ? "page" : undefined}>
          {s.trips.tabs[tab]}
        </Link>
      ))}
    </nav>
  );
}
