import { useState } from "react";
import { useLiveCommands } from "../api/commands";
import { usePages } from "../api/page";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { DataTable } from "../ui/DataTable";
import { commandColumns } from "./columns";
import { CommandDialog } from "./CommandDialog";
import { SendDialog } from "./SendDialog";

/** What was sent to a vehicle and what became of it, as it happens. */
export default function DeviceCommands({ device }: { device: string }) {
  const { s } = useLocale();
  const maySend = useMay("commands:send");
  const [isSending, setSending] = useState(false);
  const [open, setOpen] = useState<string | null>(null);
  useLiveCommands();
  const commands = usePages("/v1/devices/{device}/commands", { path: { device } });
  return (
    <>
      {maySend && (
        <div className="toolbar">
          <span className="muted">{s.commands.deviceLead}</span>
          <div className="row-actions end">
            <Button kind="primary" icon="play" onClick={() => setSending(true)}>
              {s.commands.send}
            </Button>
          </div>
        </div>
      )}
      <DataTable
        label={s.commands.title}
        columns={commandColumns(s, setOpen, false)}
        keyOf={(command) => command.id}
        emptyTitle={s.commands.empty}
        emptyHint={s.commands.emptyHint}
        pages={commands}
      />
      {isSending && (
        <SendDialog
          device={device}
          onSent={(id) => {
            setSending(false);
            setOpen(id);
          }}
          onClose={() => setSending(false)}
        />
      )}
      {open !== null && <CommandDialog id={open} onClose={() => setOpen(null)} />}
    </>
  );
}
