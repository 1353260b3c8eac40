import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Forbidden } from "../ui/Forbidden";
import { Tabs } from "../ui/Tabs";
import { AlertLog } from "./AlertLog";
import { Inbox } from "./Inbox";
import { Preferences } from "./Preferences";

const TABS = ["inbox", "log", "preferences"] as const;

export default function AlertsPage({ tab }: { tab: string | undefined }) {
  const { s } = useLocale();
  const shown = TABS.find((name) => name === tab) ?? "inbox";
  if (!useMay("alerts:read")) return <Forbidden />;
  return (
    <div className="page">
      <h1>{s.alerts.title}</h1>
      <Tabs
        label={s.alerts.sections}
        tabs={TABS.map((name) => ({ href: name === "inbox" ? "/alerts" : `/alerts/${name}`, name: s.alerts.tabs[name], isHere: name === shown }))}
      />
      {shown === "inbox" && <Inbox />}
      {shown === "log" && <AlertLog />}
      {shown === "preferences" && <Preferences />}
    </div>
  );
}
