import { useState } from "react";
import { Link } from "wouter";
import { useAlert, type Alert } from "../api/notices";
import { usePages } from "../api/page";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { DataTable, type Column } from "../ui/DataTable";
import { Dialog } from "../ui/Dialog";
import { Select } from "../ui/Field";
import { Loading, ProblemNote } from "../ui/states";
import { When } from "../ui/When";
import { KINDS } from "./kinds";
import { KindBadge } from "./Inbox";

/** Every alert that was raised; each opens with whom it was told by which way, and what came of it. */
export function AlertLog() {
  const { s, f } = useLocale();
  const [kind, setKind] = useState("");
  const alerts = usePages("/v1/alerts", { query: { kind: KINDS.find((each) => each === kind) ?? null } });
  const maySites = useMay("sites:read");
  const [opened, setOpened] = useState<Alert | null>(null);
  const columns: Column<Alert>[] = [
    { head: s.alerts.at, cell: (alert) => <When at={alert.at} /> },
    { head: s.alerts.kind, cell: (alert) => <KindBadge kind={alert.kind} /> },
    {
      head: s.alerts.site,
      cell: (alert) => (maySites ? <Link href={`/sites/${alert.site.id}`}>{alert.site.name}</Link> : alert.site.name),
    },
    { head: s.alerts.expected, cell: (alert) => (alert.eta === null ? "–" : f.hour(Date.parse(alert.eta))) },
    { head: s.alerts.truck, cell: (alert) => alert.device },
    {
      head: s.alerts.deliveries,
      cell: (alert) => (
        <span className="row-actions">
          <Link href={`/trips/${alert.trip}`} className="button">
            {s.alerts.trip}
          </Link>
          <Button onClick={() => setOpened(alert)}>{s.alerts.deliveries}</Button>
        </span>
      ),
    },
  ];
  return (
    <>
      <p className="muted">{s.alerts.logLead}</p>
      <div className="toolbar">
        <Select
          label={s.alerts.kind}
          isLabelHidden
          value={kind}
          options={[["", s.alerts.anyKind], ...KINDS.map((each) => [each, s.alerts.kinds[each] ?? each] as const)]}
          onPick={setKind}
        />
      </div>
      <DataTable
        label={s.alerts.tabs.log}
        columns={columns}
        keyOf={(alert) => alert.id}
        emptyTitle={s.alerts.logEmpty}
        emptyHint={s.alerts.logEmptyHint}
        pages={alerts}
      />
      {opened !== null && <Deliveries alert={opened} onClose={() => setOpened(null)} />}
    </>
  );
}

function Deliveries({ alert, onClose }: { alert: Alert; onClose: () => void }) {
  const { s } = useLocale();
  const whole = useAlert(alert.id);
  const title = `${s.alerts.kinds[alert.kind] ?? alert.kind}: ${alert.site.name}`;
  const rows = whole.data?.deliveries ?? [];
  return (
    <Dialog title={title} isWide onClose={onClose}>
      {whole.isPending && <Loading />}
      {whole.isError && <ProblemNote error={whole.error} onRetry={() => void whole.refetch()} />}
      {whole.isSuccess && rows.length === 0 && <p className="muted">{s.alerts.noDeliveries}</p>}
      {rows.length > 0 && (
        <div className="table-wrap">
          <table aria-label={s.alerts.deliveries}>
            <thead>
              <tr>
                {[s.alerts.channel, s.alerts.recipient, s.alerts.state, s.alerts.attempts, s.alerts.detail].map((head) => (
                  <th key={head} scope="col">
                    {head}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((delivery) => (
                <tr key={delivery.id}>
                  <td>{s.alerts.channels[delivery.channel] ?? delivery.channel}</td>
                  <td className="wrap">{delivery.recipient ?? delivery.target}</td>
                  <td>
                    <span className={`badge delivery-${delivery.state}`}>{s.alerts.deliveryStates[delivery.state] ?? delivery.state}</span>
                  </td>
                  <td>{delivery.attempts}</td>
                  <td className="wrap small">{[delivery.status, delivery.error].filter((each) => each !== null && each !== "").join(" ")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Dialog>
  );
}
