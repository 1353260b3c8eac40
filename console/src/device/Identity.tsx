import { useState } from "react";
import { useCertificates, useDeviceChanges, type Certificate, type Device, type Move } from "../api/devices";
import { useMay } from "../app/session";
import { serverNow } from "../live/clock";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { When } from "../ui/When";
import { EditLabels } from "./EditLabels";

/** The moves each lifecycle state allows (docs/device-states.md). */
const MOVES: Record<Device["status"], Move[]> = {
  pending: ["activate", "decommission"],
  active: ["suspend", "decommission"],
  suspended: ["resume", "decommission"],
  decommissioned: [],
};
const DANGEROUS = new Set<Move>(["suspend", "decommission"]);

/** Lifecycle and certificates, with the actions of whoever may take them. */
export function Identity({ device, etag }: { device: Device; etag: string | null }) {
  const { s } = useLocale();
  const mayWrite = useMay("devices:write");
  const { move } = useDeviceChanges(device.id);
  const [asking, setAsking] = useState<Move | null>(null);
  const [isEditing, setEditing] = useState(false);
  const [done, setDone] = useState<string | null>(null);
  return (
    <>
      {done !== null && (
        <p className="note good" role="status">
          {done}
        </p>
      )}
      <section className="panel" aria-label={s.identity.status}>
        <h2>{s.identity.status}</h2>
        <dl className="facts">
          <div>
            <dt>{s.identity.status}</dt>
            <dd>
              <span className={`badge ${device.status}`}>{s.status[device.status]}</span>
            </dd>
          </div>
          <div>
            <dt>{s.device.registered}</dt>
            <dd>
              <When at={device.created_at} />
            </dd>
          </div>
        </dl>
        {mayWrite && (
          <div className="row-actions" role="group" aria-label={s.device.actions}>
            {MOVES[device.status].map((name) => (
              <Button key={name} kind={DANGEROUS.has(name) ? "danger" : "plain"} onClick={() => setAsking(name)}>
                {s.identity.actions[name]}
              </Button>
            ))}
            {device.status !== "decommissioned" && (
              <Button icon="edit" onClick={() => setEditing(true)}>
                {s.device.editLabels}
              </Button>
            )}
          </div>
        )}
      </section>
      <Certificates device={device.id} mayWrite={mayWrite} onDone={setDone} />
      {asking !== null && (
        <Confirm
          title={s.identity.question[asking](device.id)}
          consequence={s.identity.consequence[asking]}
          action={s.identity.actions[asking]}
          isDangerous={DANGEROUS.has(asking)}
          typedName={asking === "decommission" ? device.id : undefined}
          onConfirm={async () => {
            await move(asking);
            setDone(s.identity.done[asking]);
          }}
          onClose={() => setAsking(null)}
        />
      )}
      {isEditing && <EditLabels device={device} etag={etag} onClose={() => setEditing(false)} />}
    </>
  );
}

function Certificates({ device, mayWrite, onDone }: { device: string; mayWrite: boolean; onDone: (done: string) => void }) {
  const { s } = useLocale();
  const certificates = useCertificates(device);
  const { revoke } = useDeviceChanges(device);
  const [revoking, setRevoking] = useState<Certificate | null>(null);
  if (certificates.isPending) return <Loading />;
  if (certificates.isError) return <ProblemNote error={certificates.error} onRetry={() => void certificates.refetch()} />;
  if (certificates.data.length === 0) return <Empty title={s.identity.none} hint={s.identity.noneHint} icon="alert" />;
  return (
    <section className="panel" aria-label={s.identity.certificates}>
      <h2>{s.identity.certificates}</h2>
      <div className="table-wrap">
        <table aria-label={s.identity.certificates}>
          <thead>
            <tr>
              <th scope="col">{s.identity.serial}</th>
              <th scope="col">{s.identity.state}</th>
              <th scope="col">{s.identity.validFrom}</th>
              <th scope="col">{s.identity.validUntil}</th>
              {mayWrite && <th scope="col">{s.device.actions}</th>}
            </tr>
          </thead>
          <tbody>
            {certificates.data.map((one) => (
              <tr key={one.serial}>
                <td className="wrap">
                  <code>{one.serial}</code>
                  <details className="small muted">
                    <summary>{s.identity.fingerprint}</summary>
                    <code>{one.fingerprint}</code>
                  </details>
                </td>
                <td>
                  <span className={`badge ${one.status}`}>{s.identity.states[one.status]}</span>
                </td>
                <td>
                  <When at={one.not_before} />
                </td>
                <td>
                  <When at={one.not_after} />
                  <Ends at={Date.parse(one.not_after)} />
                </td>
                {mayWrite && (
                  <td>
                    {one.status !== "revoked" && (
                      <Button kind="danger" onClick={() => setRevoking(one)}>
                        {s.identity.revoke}
                      </Button>
                    )}
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {revoking !== null && (
        <Confirm
          title={s.identity.revokeQuestion}
          consequence={s.identity.revokeHint}
          action={s.identity.revoke}
          isDangerous
          onConfirm={async () => {
            await revoke(revoking.serial);
            onDone(s.identity.done.revoke);
          }}
          onClose={() => setRevoking(null)}
        >
          <code>{revoking.serial}</code>
        </Confirm>
      )}
    </section>
  );
}

function Ends({ at }: { at: number }) {
  const { s, f } = useLocale();
  const now = serverNow();
  return <p className="muted small">{at < now ? s.identity.expired : s.identity.expiresIn(f.ago(at, now))}</p>;
}
