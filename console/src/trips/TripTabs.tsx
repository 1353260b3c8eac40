import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Tabs } from "../ui/Tabs";

const TABS = { day: "/trips", routes: "/routes", accuracy: "/accuracy", maps: "/maps" } as const;

/** Between the day's trips, the routes they are made from, and how good their times were and what maps cost. */
export function TripTabs({ here }: { here: keyof typeof TABS }) {
  const { s } = useLocale();
  const mayMaps = useMay("sites:read");
  const tabs = (Object.keys(TABS) as (keyof typeof TABS)[]).filter((tab) => tab !== "maps" || mayMaps);
  return <Tabs label={s.trips.sections} tabs={tabs.map((tab) => ({ href: TABS[tab], name: s.trips.tabs[tab], isHere: tab === here }))} />;
}
