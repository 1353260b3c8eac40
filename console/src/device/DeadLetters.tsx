import { useState } from "react";
import { Link } from "wouter";
import { useLetter, useReplays, type Letter, type Outcome } from "../api/letters";
import { usePages } from "../api/page";
import { useMay } from "../app/session";
import { useLocale, type Strings } from "../strings";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { DataTable, type Column } from "../ui/DataTable";
import { Dialog } from "../ui/Dialog";
import { Select } from "../ui/Field";
import { Loading, ProblemNote } from "../ui/states";
import { When } from "../ui/When";

/** Dead letters of one vehicle, or of the whole tenant: read, looked into, tried again. */
export function DeadLetters({ device }: { device?: string }) {
  const { s, f } = useLocale();
  const mayWrite = useMay("dead_letters:write");
  const [reason, setReason] = useState("");
  const [replayed, setReplayed] = useState("");
  const letters = usePages("/v1/dead-letters", { query: { device: device ?? null, reason, replayed: replayed === "" ? null : replayed === "true" } });
  const { one, ofReason } = useReplays();
  const [opened, setOpened] = useState<Letter | null>(null);
  const [isAskingAll, setAskingAll] = useState(false);
  const [busy, setBusy] = useState<number | null>(null);
  const [told, setTold] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);

  const replay = async (letter: Letter) => {
    setBusy(letter.id);
    setError(null);
    setTold(null);
    try {
      setTold(outcomeWords(await one(letter.id), s));
    } catch (failure) {
      setError(failure);
    }
    setBusy(null);
  };

  const columns: Column<Letter>[] = [
    { head: s.deadLetters.received, cell: (letter) => <When at={letter.received_at} /> },
    ...(device === undefined ? [{ head: s.deadLetters.vehicle, cell: (letter: Letter) => <Thing thing={letter.thing} /> }] : []),
    {
      head: s.deadLetters.reason,
      className: "wrap",
      cell: (letter) => (
        <>
          {s.reasons[letter.reason] ?? letter.reason}
          <p className="muted small">{letter.detail}</p>
        </>
      ),
    },
    {
      head: s.deadLetters.state,
      cell: (letter) =>
        letter.replayed_at === null ? (
          <span className="badge pending">{s.deadLetters.waiting}</span>
        ) : (
          <span className="badge active">{s.deadLetters.done}</span>
        ),
    },
    {
      head: s.device.actions,
      cell: (letter) => (
        <span className="row-actions">
          <Button onClick={() => setOpened(letter)}>{s.deadLetters.details}</Button>
          {mayWrite && letter.replayed_at === null && (
            <Button isBusy={busy === letter.id} onClick={() => void replay(letter)}>
              {s.deadLetters.replay}
            </Button>
          )}
        </span>
      ),
    },
  ];
  return (
    <>
      <div className="toolbar">
        <Select
          label={s.deadLetters.reason}
          value={reason}
          options={[["", s.deadLetters.anyReason], ...Object.entries(s.reasons)]}
          onPick={setReason}
        />
        <Select
          label={s.deadLetters.state}
          value={replayed}
          options={[
            ["", s.deadLetters.anyState],
            ["false", s.deadLetters.waiting],
            ["true", s.deadLetters.done],
          ]}
          onPick={setReplayed}
        />
        {mayWrite && device === undefined && reason !== "" && (
          <Button onClick={() => setAskingAll(true)}>{s.deadLetters.replayAll}</Button>
        )}
      </div>
      {told !== null && (
        <p className="note good" role="status">
          {told}
        </p>
      )}
      {error !== null && <ProblemNote error={error} />}
      <DataTable
        label={s.deadLetters.title}
        columns={columns}
        keyOf={(letter) => letter.id}
        emptyTitle={s.deadLetters.empty}
        emptyHint={s.deadLetters.emptyHint}
        pages={letters}
      />
      {opened !== null && <Details letter={opened} onClose={() => setOpened(null)} />}
      {isAskingAll && (
        <Confirm
          title={s.deadLetters.replayAllQuestion(s.reasons[reason] ?? reason)}
          consequence={s.deadLetters.replayAllHint}
          action={s.deadLetters.replay}
          onConfirm={async () => {
            const outcomes = await ofReason(reason);
            const settled = outcomes.filter((outcome) => outcome.settled).length;
            setTold(s.deadLetters.replayCount(f.integer(settled), f.integer(outcomes.length)));
          }}
          onClose={() => setAskingAll(false)}
        />
      )}
    </>
  );
}

function outcomeWords(outcome: Outcome, s: Strings): string {
  const again = outcome.refused[0];
  if (again === undefined) return s.deadLetters.replayed;
  return `${s.deadLetters.refusedAgain} ${s.reasons[again.reason] ?? again.reason}. ${again.detail}`;
}

function Thing({ thing }: { thing: string | null }) {
  if (thing === null) return "–";
  const device = thing.slice(thing.indexOf(":") + 1);
  return <Link href={`/devices/${encodeURIComponent(device)}?tab=deadLetters`}>{device}</Link>;
}

function Details({ letter, onClose }: { letter: Letter; onClose: () => void }) {
  const { s } = useLocale();
  const whole = useLetter(letter.id);
  return (
    <Dialog title={s.reasons[letter.reason] ?? letter.reason} onClose={onClose}>
      <p className="muted">{letter.detail}</p>
      <dl className="facts">
        <div className="wide">
          <dt>{s.deadLetters.received}</dt>
          <dd>
            <When at={letter.received_at} />
          </dd>
        </div>
        <div className="wide">
          <dt>{s.deadLetters.topic}</dt>
          <dd className="wrap">
            <code>{letter.topic}</code>
          </dd>
        </div>
      </dl>
      <h3>{s.deadLetters.payload}</h3>
      {whole.isPending && <Loading />}
      {whole.isError && <ProblemNote error={whole.error} onRetry={() => void whole.refetch()} />}
      {whole.isSuccess && <pre className="payload">{whole.data.text ?? whole.data.payload_base64}</pre>}
    </Dialog>
  );
}
