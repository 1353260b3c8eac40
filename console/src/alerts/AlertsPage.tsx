import { Link } from "wouter";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Forbidden } from "../ui/Forbidden";
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
      <nav className="tabs" aria-label={s.alerts.sections}>
        {TABS.map((name) => (
          <Link key={name} href={name === "inbox" ? "/alerts" : `/alerts/${name}`} aria-current={name === shown ? "page" : undefined}>
            {s.alerts.tabs[name]}
          </Link>
        ))}
      </nav>
      {shown === "inbox" && <Inbox />}
      {shown === "log" && <AlertLog />}
      {shown === "preferences" && <Preferences />}
    </div>
  );
}
