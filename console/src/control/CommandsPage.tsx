import { useState } from "react";
import { useLiveCommands } from "../api/commands";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Forbidden } from "../ui/Forbidden";
import { Tabs } from "../ui/Tabs";
import { Batches } from "./Batches";
import { CommandDialog } from "./CommandDialog";
import { CommandList } from "./CommandList";
import { SendDialog } from "./SendDialog";
import { Templates } from "./Templates";

const TABS = ["list", "groups", "templates"] as const;

/** Commands to the whole fleet: what was sent, to groups too, and what may be sent. */
export default function CommandsPage({ tab }: { tab: string | undefined }) {
  const { s } = useLocale();
  const mayRead = useMay("commands:read");
  const maySend = useMay("commands:send");
  const [isSending, setSending] = useState(false);
  const [open, setOpen] = useState<string | null>(null);
  const shown = TABS.find((name) => name === tab) ?? "list";
  if (!mayRead) return <Forbidden />;
  return (
    <div className="page">
      <Live />
      <header className="page-head">
        <h1>{s.commands.title}</h1>
        {maySend && (
          <div className="end">
            <Button kind="primary" icon="play" onClick={() => setSending(true)}>
              {s.commands.sendGroup}
            </Button>
          </div>
        )}
      </header>
      <Tabs
        label={s.commands.sections}
        tabs={TABS.map((name) => ({ href: name === "list" ? "/commands" : `/commands/${name}`, name: s.commands.tabs[name], isHere: name === shown }))}
      />
      {shown === "list" && <CommandList onOpen={setOpen} />}
      {shown === "groups" && <Batches />}
      {shown === "templates" && <Templates />}
      {isSending && <SendDialog device={null} onSent={() => setSending(false)} onClose={() => setSending(false)} />}
      {open !== null && <CommandDialog id={open} onClose={() => setOpen(null)} />}
    </div>
  );
}

function Live() {
  useLiveCommands();
  return null;
}
