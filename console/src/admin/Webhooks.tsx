import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { usePages } from "../api/page";
import { addWebhook, redeliver, removeWebhook, rotateWebhook, setWebhookStatus, testWebhook, WEBHOOK_KINDS, type Webhook, type WebhookDelivery } from "../api/webhooks";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { DataTable, type Column } from "../ui/DataTable";
import { Dialog } from "../ui/Dialog";
import { Field } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { ProblemNote } from "../ui/states";
import { When } from "../ui/When";
import { SecretDialog } from "./Secret";

type Ask = { kind: "remove" | "rotate"; webhook: Webhook };

/** Systems of the tenant that are told of alerts and trips by HTTP. */
export function Webhooks() {
  const { s } = useLocale();
  const mayWrite = useMay("webhooks:write");
  const queries = useQueryClient();
  const webhooks = usePages("/v1/webhooks", {});
  const [isAdding, setAdding] = useState(false);
  const [ask, setAsk] = useState<Ask | null>(null);
  const [opened, setOpened] = useState<Webhook | null>(null);
  const [secret, setSecret] = useState<{ title: string; value: string } | null>(null);
  const [isTested, setTested] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const refresh = () => queries.invalidateQueries({ queryKey: ["/v1/webhooks"] });
  const run = (change: Promise<unknown>, then: () => void = () => undefined) => {
    setError(null);
    setTested(false);
    void change.then(then, setError).finally(() => void refresh());
  };
  const columns: Column<Webhook>[] = [
    {
      head: s.webhooks.url,
      className: "wrap",
      cell: (hook) => (
        <>
          <code>{hook.url}</code>
          {hook.description !== "" && <p className="muted small">{hook.description}</p>}
        </>
      ),
    },
    { head: s.webhooks.events, cell: (hook) => <span className="small">{hook.kinds.join(", ")}</span>, className: "wrap" },
    {
      head: s.webhooks.state,
      cell: (hook) => (
        <>
          <span className={`badge ${hook.status === "active" ? "active" : "revoked"}`}>
            {hook.status === "active" ? s.webhooks.enabled : s.webhooks.disabled}
          </span>
          {hook.disabled_reason !== "" && <p className="muted small">{hook.disabled_reason}</p>}
        </>
      ),
    },
    {
      head: s.admin.actions,
      cell: (hook) => (
        <span className="row-actions">
          <Button onClick={() => setOpened(hook)}>{s.webhooks.deliveries}</Button>
          {mayWrite && (
            <>
              <Button onClick={() => run(testWebhook(hook), () => setTested(true))}>{s.webhooks.test}</Button>
              <Button onClick={() => setAsk({ kind: "rotate", webhook: hook })}>{s.webhooks.rotate}</Button>
              <Button onClick={() => run(setWebhookStatus(hook, hook.status === "active" ? "disabled" : "active"))}>
                {hook.status === "active" ? s.webhooks.disable : s.webhooks.enable}
              </Button>
              <Button kind="danger" onClick={() => setAsk({ kind: "remove", webhook: hook })}>
                {s.webhooks.remove}
              </Button>
            </>
          )}
        </span>
      ),
    },
  ];
  return (
    <>
      <p className="muted">{s.webhooks.lead}</p>
      {mayWrite && (
        <div className="toolbar">
          <Button kind="primary" icon="plus" onClick={() => setAdding(true)}>
            {s.webhooks.add}
          </Button>
        </div>
      )}
      {isTested && (
        <p className="note good" role="status">
          {s.webhooks.testSent}
        </p>
      )}
      {error !== null && <ProblemNote error={error} />}
      <DataTable label={s.webhooks.title} columns={columns} keyOf={(hook) => hook.id} emptyTitle={s.admin.empty} pages={webhooks} />
      {isAdding && (
        <FormDialog
          title={s.webhooks.add}
          action={s.admin.add}
          onClose={() => setAdding(false)}
          onSubmit={async (form) => {
            const kinds = WEBHOOK_KINDS.filter((kind) => form.get(kind) !== null);
            const made = await addWebhook({ url: textOf(form, "url"), description: textOf(form, "description"), kinds });
            setSecret({ title: made.url, value: made.secret });
            await refresh();
          }}
        >
          <Field label={s.webhooks.url} hint={s.webhooks.urlHint} name="url" type="url" required autoComplete="off" />
          <Field label={s.webhooks.description} name="description" maxLength={200} autoComplete="off" />
          <fieldset className="rows">
            <legend>{s.webhooks.events}</legend>
            {WEBHOOK_KINDS.map((kind) => (
              <label key={kind} className="check">
                <input type="checkbox" name={kind} defaultChecked /> <code>{kind}</code>
              </label>
            ))}
          </fieldset>
        </FormDialog>
      )}
      {ask !== null && (
        <Confirm
          title={ask.kind === "remove" ? s.webhooks.removeQuestion : s.webhooks.rotateQuestion}
          consequence={ask.kind === "remove" ? s.webhooks.removeHint : s.webhooks.rotateHint}
          action={ask.kind === "remove" ? s.webhooks.remove : s.webhooks.rotate}
          isDangerous={ask.kind === "remove"}
          onConfirm={async () => {
            if (ask.kind === "remove") await removeWebhook(ask.webhook);
            else setSecret({ title: ask.webhook.url, value: (await rotateWebhook(ask.webhook)).secret });
            await refresh();
          }}
          onClose={() => setAsk(null)}
        />
      )}
      {opened !== null && <Deliveries webhook={opened} mayWrite={mayWrite} onClose={() => setOpened(null)} />}
      {secret !== null && <SecretDialog title={secret.title} values={[[s.webhooks.secret, secret.value]]} onClose={() => setSecret(null)} />}
    </>
  );
}

function Deliveries({ webhook, mayWrite, onClose }: { webhook: Webhook; mayWrite: boolean; onClose: () => void }) {
  const { s } = useLocale();
  const deliveries = usePages("/v1/webhooks/{webhook}/deliveries", { path: { webhook: webhook.id } });
  const [error, setError] = useState<unknown>(null);
  const columns: Column<WebhookDelivery>[] = [
    { head: s.webhooks.at, cell: (one) => <When at={one.created_at} /> },
    { head: s.webhooks.event, cell: (one) => <code>{one.kind}</code> },
    {
      head: s.webhooks.state,
      cell: (one) => <span className={`badge delivery-${one.state}`}>{s.alerts.deliveryStates[one.state] ?? one.state}</span>,
    },
    { head: s.webhooks.answer, cell: (one) => [one.status, one.error].filter((each) => each !== null && each !== "").join(" "), className: "wrap" },
    {
      head: s.admin.actions,
      cell: (one) =>
        mayWrite && (
          <Button
            onClick={() => {
              setError(null);
              void redeliver(webhook, one).catch(setError).finally(() => void deliveries.refetch());
            }}
          >
            {s.webhooks.redeliver}
          </Button>
        ),
    },
  ];
  return (
    <Dialog title={webhook.url} isWide onClose={onClose}>
      {error !== null && <ProblemNote error={error} />}
      <DataTable label={s.webhooks.deliveries} columns={columns} keyOf={(one) => one.id} emptyTitle={s.webhooks.noDeliveries} pages={deliveries} />
    </Dialog>
  );
}
