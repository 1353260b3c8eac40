import { Link } from "wouter";
import type { Command } from "../api/commands";
import type { Strings } from "../strings";
import type { Column } from "../ui/DataTable";
import { When } from "../ui/When";
import { StateBadge } from "./StateBadge";

/** A list of commands; `onOpen` shows one. */
export function commandColumns(s: Strings, onOpen: (id: string) => void, hasDevice: boolean): Column<Command>[] {
  return [
    { head: s.commands.sent, cell: (command) => <When at={command.created_at} isRelative /> },
    ...(hasDevice
      ? [
          {
            head: s.commands.device,
            cell: (command: Command) => <Link href={`/devices/${encodeURIComponent(command.device)}?tab=commands`}>{command.device}</Link>,
          },
        ]
      : []),
    {
      head: s.commands.command,
      cell: (command) => (
        <button type="button" className="link" onClick={() => onOpen(command.id)} aria-label={s.commands.openOne(command.template, command.device)}>
          {command.template}
        </button>
      ),
    },
    { head: s.commands.parameters, cell: (command) => Object.keys(command.parameters).length > 0 && <code>{JSON.stringify(command.parameters)}</code>, className: "wrap" },
    { head: s.commands.state, cell: (command) => <StateBadge state={command.state} /> },
    { head: s.commands.reason, cell: (command) => command.reason || command.reason_code, className: "wrap" },
    { head: s.commands.sender, cell: (command) => command.sender.name || command.sender.id },
  ];
}
