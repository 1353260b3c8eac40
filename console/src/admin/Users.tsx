import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { addUser, changeUser, type User } from "../api/accounts";
import { usePages } from "../api/page";
import type { Role } from "../api/session";
import { useMay, useMe } from "../app/session";
import { serverNow } from "../live/clock";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { DataTable, type Column } from "../ui/DataTable";
import { Field, Select } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { ProblemNote } from "../ui/states";
import { When } from "../ui/When";
import { SecretDialog } from "./Secret";

const GRANTABLE: Role[] = ["tenant_admin", "dispatcher", "viewer"];

export function Users() {
  const { s } = useLocale();
  const me = useMe();
  const mayWrite = useMay("users:write");
  const queries = useQueryClient();
  const users = usePages("/v1/users", {});
  const [isAdding, setAdding] = useState(false);
  const [disabling, setDisabling] = useState<User | null>(null);
  const [made, setMade] = useState<{ email: string; password: string } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const refresh = () => queries.invalidateQueries({ queryKey: ["/v1/users"] });
  const change = (what: Promise<unknown>) => {
    setError(null);
    void what.catch(setError).finally(() => void refresh());
  };

  const columns: Column<User>[] = [
    { head: s.admin.name, cell: (user) => user.name },
    { head: s.admin.email, cell: (user) => user.email, className: "wrap" },
    {
      head: s.admin.role,
      cell: (user) =>
        mayWrite && user.id !== me.id && GRANTABLE.includes(user.role) ? (
          <Select
            label={`${s.admin.role}: ${user.email}`}
            isLabelHidden
            value={user.role}
            options={GRANTABLE.map((role) => [role, s.roles[role]] as const)}
            onPick={(role) => change(changeUser(user, { role: role as Role }))}
          />
        ) : (
          s.roles[user.role]
        ),
    },
    {
      head: s.admin.state,
      cell: (user) => {
        const isLocked = user.locked_until !== null && Date.parse(user.locked_until) > serverNow();
        if (user.status === "disabled") return <span className="badge revoked">{s.admin.disabled}</span>;
        return isLocked ? <span className="badge suspended">{s.admin.locked}</span> : <span className="badge active">{s.admin.enabled}</span>;
      },
    },
    { head: s.admin.lastUsed, cell: (user) => (user.last_login_at === null ? s.admin.never : <When at={user.last_login_at} isRelative />) },
    {
      head: s.admin.actions,
      cell: (user) =>
        mayWrite &&
        user.id !== me.id &&
        (user.status === "active" ? (
          <Button onClick={() => setDisabling(user)}>{s.admin.disable}</Button>
        ) : (
          <Button onClick={() => change(changeUser(user, { status: "active" }))}>{s.admin.enable}</Button>
        )),
    },
  ];
  return (
    <>
      {mayWrite && (
        <div className="toolbar">
          <Button kind="primary" icon="plus" onClick={() => setAdding(true)}>
            {s.admin.addUser}
          </Button>
        </div>
      )}
      {error !== null && <ProblemNote error={error} />}
      <DataTable label={s.admin.pages.users} columns={columns} keyOf={(user) => user.id} emptyTitle={s.admin.empty} pages={users} />
      {isAdding && (
        <FormDialog
          title={s.admin.addUser}
          action={s.admin.add}
          onClose={() => setAdding(false)}
          onSubmit={async (form) => {
            const email = textOf(form, "email");
            const user = await addUser({ email, name: textOf(form, "name"), role: textOf(form, "role") as Role });
            if (user.password !== null) setMade({ email, password: user.password });
            await refresh();
          }}
        >
          <Field label={s.admin.email} name="email" type="email" required autoComplete="off" />
          <Field label={s.admin.name} name="name" autoComplete="off" />
          <Select label={s.admin.role} name="role" defaultValue="dispatcher" options={GRANTABLE.map((role) => [role, s.roles[role]] as const)} />
        </FormDialog>
      )}
      {made !== null && <SecretDialog title={made.email} values={[[s.admin.password, made.password]]} onClose={() => setMade(null)} />}
      {disabling !== null && (
        <Confirm
          title={s.admin.disableQuestion(disabling.email)}
          consequence={s.admin.disableHint}
          action={s.admin.disable}
          isDangerous
          onConfirm={async () => {
            await changeUser(disabling, { status: "disabled" });
            await refresh();
          }}
          onClose={() => setDisabling(null)}
        />
      )}
    </>
  );
}
