import { useState } from "react";
import { Link } from "wouter";
import { useCommand, useCommandChanges, type Decision, type WholeCommand } from "../api/commands";
import { useMay, useMe } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { Field } from "../ui/Field";
import { Loading, ProblemNote } from "../ui/states";
import { When } from "../ui/When";
import { isOver } from "./form";
import { StateBadge } from "./StateBadge";

/** One command as it goes: what was sent, what has become of it, and what can be decided. */
export function CommandDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const { s } = useLocale();
  const command = useCommand(id);
  return (
    <Dialog title={command.data === undefined ? s.commands.one : `${command.data.template} · ${command.data.device}`} isWide onClose={onClose}>
      {command.isPending && <Loading />}
      {command.isError && <ProblemNote error={command.error} onRetry={() => void command.refetch()} />}
      {command.data !== undefined && <Whole command={command.data} />}
    </Dialog>
  );
}

function Whole({ command }: { command: WholeCommand }) {
  const { s } = useLocale();
  return (
    <>
      <p className="shadow-head" role="status">
        <StateBadge state={command.state} />
        <span>{s.commands.stateHints[command.state]}</span>
      </p>
      {command.reason !== "" && (
        <p className="muted">
          {command.reason_code !== "" && <code>{command.reason_code}</code>} {command.reason}
        </p>
      )}
      {command.late && <p className="note">{s.commands.late}</p>}
      <Decisions command={command} />
      <dl className="facts">
        <Fact name={s.commands.device}>
          <Link href={`/devices/${encodeURIComponent(command.device)}?tab=commands`}>{command.device}</Link>
        </Fact>
        <Fact name={s.commands.sender}>{command.sender.name === "" ? command.sender.id : command.sender.name}</Fact>
        {command.approver !== null && <Fact name={s.commands.approver}>{command.approver.name}</Fact>}
        <Fact name={s.commands.expiresAt}>
          <When at={command.expires_at} />
        </Fact>
        <Fact name={s.commands.attempts}>{command.attempts}</Fact>
        {command.note !== "" && <Fact name={s.commands.note}>{command.note}</Fact>}
      </dl>
      {Object.keys(command.parameters).length > 0 && <Values title={s.commands.parameters} values={command.parameters} />}
      {Object.keys(command.result).length > 0 && <Values title={s.commands.result} values={plain(command.result)} />}
      <History command={command} />
    </>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd className="wrap">{children}</dd>
    </div>
  );
}

function Values({ title, values }: { title: string; values: Record<string, unknown> }) {
  return (
    <section aria-label={title}>
      <h3>{title}</h3>
      <pre className="payload">{JSON.stringify(values, null, 2)}</pre>
    </section>
  );
}

/** AWS IoT types each result: `{"s": "30"}`. */
function plain(result: WholeCommand["result"]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(result).map(([name, typed]) => [name, Object.values(typed)[0]]));
}

function History({ command }: { command: WholeCommand }) {
  const { s, f } = useLocale();
  return (
    <section aria-label={s.commands.history}>
      <h3>{s.commands.history}</h3>
      <ol className="steps">
        {command.history.map((step, at) => (
          <li key={`${step.at} ${step.state} ${at}`}>
            <StateBadge state={step.state} />
            <span title={f.time(Date.parse(step.at))}>{f.timeOfDay(Date.parse(step.at))}</span>
            <span className="muted">
              {step.by === "device" || step.by === "milkrun" ? s.commands.by[step.by] : personOf(command, step.by)}
              {step.reason !== "" && ` · ${step.reason}`}
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** Whoever did a step, by name where the command knows it. */
function personOf(command: WholeCommand, by: string): string {
  const known = [command.sender, command.approver].find((actor) => actor !== null && `${actor.kind}:${actor.id}` === by);
  return known == null || known.name === "" ? by.replace(/^\w+:/, "") : known.name;
}

function Decisions({ command }: { command: WholeCommand }) {
  const { s } = useLocale();
  const me = useMe();
  const maySend = useMay("commands:send");
  const mayApprove = useMay("commands:approve");
  const { decide } = useCommandChanges();
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState<Decision | null>(null);
  const awaits = command.state === "AWAITING_APPROVAL";
  const isMine = command.sender.kind === "user" && command.sender.id === me.id;
  const choices: Decision[] = isOver(command.state)
    ? []
    : [...(awaits && mayApprove && !isMine ? (["approve", "deny"] as const) : []), ...(maySend ? (["cancel"] as const) : [])];
  if (choices.length === 0) return awaits && isMine ? <p className="note">{s.commands.ownApproval}</p> : null;
  const act = async (decision: Decision) => {
    setBusy(decision);
    setError(null);
    await decide(command.id, decision, reason).catch(setError);
    setBusy(null);
  };
  return (
    <div className="decisions">
      {awaits && isMine && <p className="note">{s.commands.ownApproval}</p>}
      <Field label={s.commands.reason} maxLength={500} value={reason} autoComplete="off" onChange={(event) => setReason(event.target.value)} />
      <div className="row-actions">
        {choices.map((decision) => (
          <Button
            key={decision}
            kind={decision === "approve" ? "primary" : decision === "deny" ? "danger" : "plain"}
            isBusy={busy === decision}
            onClick={() => void act(decision)}
          >
            {s.commands.decisions[decision]}
          </Button>
        ))}
      </div>
      {command.attempts > 0 && <p className="muted small">{s.commands.cancelSent}</p>}
      {error !== null && <ProblemNote error={error} />}
    </div>
  );
}
