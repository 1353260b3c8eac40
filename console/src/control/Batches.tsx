import { useState } from "react";
import { Link } from "wouter";
import { useCommandChanges, type Batch, type Decision } from "../api/commands";
import { usePages } from "../api/page";
import { useMay, useMe } from "../app/session";
import { useLocale, type Strings } from "../strings";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { DataTable, type Column } from "../ui/DataTable";
import { When } from "../ui/When";
import { isOver, type State } from "./form";
import { StateBadge } from "./StateBadge";

interface Asked {
  batch: Batch;
  decision: Decision;
}

/** Commands to groups, with how far each has come. */
export function Batches() {
  const { s, f } = useLocale();
  const me = useMe();
  const maySend = useMay("commands:send");
  const mayApprove = useMay("commands:approve");
  const { decideGroup } = useCommandChanges();
  const [asked, setAsked] = useState<Asked | null>(null);
  const batches = usePages("/v1/command-batches", {});
  const choices = (batch: Batch): Decision[] => {
    const awaits = (batch.states.AWAITING_APPROVAL ?? 0) > 0;
    const isMine = batch.sender.kind === "user" && batch.sender.id === me.id;
    const approval: Decision[] = awaits && mayApprove && !isMine ? ["approve", "deny"] : [];
    return maySend && openOf(batch) > 0 ? [...approval, "cancel"] : approval;
  };
  const columns: Column<Batch>[] = [
    { head: s.commands.sent, cell: (batch) => <When at={batch.created_at} isRelative /> },
    { head: s.commands.command, cell: (batch) => <Link href={`/commands?batch=${encodeURIComponent(batch.id)}`}>{batch.template}</Link> },
    { head: s.commands.group, cell: (batch) => <code>{targetOf(batch, s)}</code>, className: "wrap" },
    { head: s.commands.devices, cell: (batch) => f.integer(batch.total) },
    { head: s.commands.progress, cell: (batch) => <Progress batch={batch} /> },
    { head: s.commands.sender, cell: (batch) => batch.sender.name || batch.sender.id },
    {
      head: s.admin.actions,
      cell: (batch) => (
        <div className="row-actions">
          {choices(batch).map((decision) => (
            <Button key={decision} onClick={() => setAsked({ batch, decision })}>
              {s.commands.decisions[decision]}
            </Button>
          ))}
        </div>
      ),
    },
  ];
  return (
    <>
      <DataTable
        label={s.commands.tabs.groups}
        columns={columns}
        keyOf={(batch) => batch.id}
        emptyTitle={s.commands.noGroups}
        emptyHint={s.commands.noGroupsHint}
        pages={batches}
      />
      {asked !== null && (
        <Confirm
          title={s.commands.groupQuestion[asked.decision](asked.batch.template)}
          consequence={s.commands.groupConsequence[asked.decision](f.integer(openOf(asked.batch)))}
          action={s.commands.decisions[asked.decision]}
          isDangerous={asked.decision !== "approve"}
          onConfirm={() => decideGroup(asked.batch.id, asked.decision, "")}
          onClose={() => setAsked(null)}
        />
      )}
    </>
  );
}

function entriesOf(batch: Batch): [State, number][] {
  return Object.entries(batch.states) as [State, number][];
}

function openOf(batch: Batch): number {
  return entriesOf(batch).reduce((sum, [state, count]) => sum + (isOver(state) ? 0 : count), 0);
}

function Progress({ batch }: { batch: Batch }) {
  const { f } = useLocale();
  return (
    <ul className="counts">
      {entriesOf(batch).map(([state, count]) => (
        <li key={state}>
          <StateBadge state={state} /> {f.integer(count)}
        </li>
      ))}
    </ul>
  );
}

function targetOf(batch: Batch, s: Strings): string {
  const target = batch.target as { labels?: Record<string, string>; where?: string; devices?: string[] };
  if (target.labels !== undefined) return Object.entries(target.labels).map(([name, value]) => `${name}:${value}`).join(", ");
  return target.where ?? target.devices?.slice(0, 5).join(", ") ?? s.commands.group;
}
