import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { addClient, addKey, rotateSecret, setClientStatus, setKeyStatus, type ApiClient, type ApiKey } from "../api/accounts";
import { usePages } from "../api/page";
import type { Role } from "../api/session";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { DataTable, type Column } from "../ui/DataTable";
import { Field, Select } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { When } from "../ui/When";
import { SecretDialog } from "./Secret";

type Program = ApiClient | ApiKey;

const PATHS = { clients: "/v1/clients", keys: "/v1/api-keys" } as const;
type Ask = { kind: "disable" | "enable" | "rotate"; program: Program };

const GRANTABLE: Role[] = ["integration", "dispatcher", "viewer", "tenant_admin"];

/** Programs that use the API: clients with a secret, or keys. */
export function Accounts({ kind }: { kind: "clients" | "keys" }) {
  const { s } = useLocale();
  const mayWrite = useMay("clients:write");
  const queries = useQueryClient();
  const programs = usePages(PATHS[kind], {});
  const [isAdding, setAdding] = useState(false);
  const [ask, setAsk] = useState<Ask | null>(null);
  const [secret, setSecret] = useState<{ title: string; values: [string, string][] } | null>(null);
  const refresh = () => queries.invalidateQueries({ queryKey: [PATHS[kind]] });
  const addTitle = kind === "clients" ? s.admin.addClient : s.admin.addKey;

  const columns: Column<Program>[] = [
    { head: s.admin.name, cell: (program) => program.name },
    { head: kind === "clients" ? s.admin.clientId : s.admin.key, cell: (program) => <code>{program.id}</code>, className: "wrap" },
    { head: s.admin.role, cell: (program) => s.roles[program.role] },
    {
      head: s.admin.scopes,
      cell: (program) => (
        <details>
          <summary>{program.scopes.length}</summary>
          <span className="small muted">{program.scopes.join(", ")}</span>
        </details>
      ),
    },
    { head: s.admin.lastUsed, cell: (program) => (program.last_used_at === null ? s.admin.never : <When at={program.last_used_at} isRelative />) },
    {
      head: s.admin.state,
      cell: (program) =>
        program.status === "active" ? (
          <span className="badge active">{s.admin.enabled}</span>
        ) : (
          <span className="badge revoked">{s.admin.disabled}</span>
        ),
    },
    {
      head: s.admin.actions,
      cell: (program) =>
        mayWrite && (
          <span className="row-actions">
            {kind === "clients" && <Button onClick={() => setAsk({ kind: "rotate", program })}>{s.admin.rotate}</Button>}
            {program.status === "active" ? (
              <Button onClick={() => setAsk({ kind: "disable", program })}>{s.admin.disable}</Button>
            ) : (
              <Button onClick={() => setAsk({ kind: "enable", program })}>{s.admin.enable}</Button>
            )}
          </span>
        ),
    },
  ];

  const add = async (form: FormData) => {
    const wanted = { name: textOf(form, "name"), role: textOf(form, "role") as Role };
    if (kind === "clients") {
      const client = await addClient(wanted);
      setSecret({ title: client.name, values: [[s.admin.clientId, client.id], [s.admin.secret, client.client_secret]] });
    } else {
      const until = textOf(form, "expires");
      const key = await addKey({ ...wanted, ...(until === "" ? {} : { expires_at: new Date(until).toISOString() }) });
      setSecret({ title: key.name, values: [[s.admin.key, key.key]] });
    }
    await refresh();
  };

  return (
    <>
      {mayWrite && (
        <div className="toolbar">
          <Button kind="primary" icon="plus" onClick={() => setAdding(true)}>
            {addTitle}
          </Button>
        </div>
      )}
      <DataTable label={s.admin.pages[kind]} columns={columns} keyOf={(program) => program.id} emptyTitle={s.admin.empty} pages={programs} />
      {isAdding && (
        <FormDialog title={addTitle} action={s.admin.add} onClose={() => setAdding(false)} onSubmit={add}>
          <Field label={s.admin.name} name="name" required autoComplete="off" />
          <Select label={s.admin.role} name="role" options={GRANTABLE.map((role) => [role, s.roles[role]] as const)} />
          {kind === "keys" && <Field label={s.admin.expires} name="expires" type="date" />}
        </FormDialog>
      )}
      {ask !== null && (
        <Question
          ask={ask}
          kind={kind}
          onClose={() => setAsk(null)}
          onDone={refresh}
          onSecret={(client) => setSecret({ title: client.name, values: [[s.admin.clientId, client.id], [s.admin.secret, client.client_secret]] })}
        />
      )}
      {secret !== null && <SecretDialog {...secret} onClose={() => setSecret(null)} />}
    </>
  );
}

interface QuestionProps {
  ask: Ask;
  kind: "clients" | "keys";
  onClose: () => void;
  onDone: () => Promise<unknown>;
  onSecret: (client: ApiClient & { client_secret: string }) => void;
}

function Question({ ask: { kind: what, program }, kind, onClose, onDone, onSecret }: QuestionProps) {
  const { s } = useLocale();
  const words = {
    disable: [s.admin.disableQuestion(program.name), s.admin.disableHint, s.admin.disable],
    enable: [s.admin.enableQuestion(program.name), s.admin.enableHint, s.admin.enable],
    rotate: [s.admin.rotateQuestion(program.name), s.admin.rotateHint, s.admin.rotate],
  }[what] as [string, string, string];
  return (
    <Confirm
      title={words[0]}
      consequence={words[1]}
      action={words[2]}
      isDangerous={what === "disable"}
      onConfirm={async () => {
        if (what === "rotate") onSecret(await rotateSecret(program));
        else await (kind === "clients" ? setClientStatus : setKeyStatus)(program, what === "disable" ? "disabled" : "active");
        await onDone();
      }}
      onClose={onClose}
    />
  );
}
