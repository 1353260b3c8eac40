import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { addTenant, type Tenant } from "../api/tenants";
import { usePages } from "../api/page";
import { useMay, useSession } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { DataTable, type Column } from "../ui/DataTable";
import { Field } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import { When } from "../ui/When";

export function Tenants() {
  const { s, f } = useLocale();
  const { chooseTenant } = useSession();
  const mayWrite = useMay("tenants:write");
  const queries = useQueryClient();
  const [, go] = useLocation();
  const [isAdding, setAdding] = useState(false);
  const tenants = usePages("/v1/tenants", {});
  const columns: Column<Tenant>[] = [
    { head: s.admin.tenantName, cell: (tenant) => <strong>{tenant.id}</strong> },
    { head: s.admin.vehicles, cell: (tenant) => f.integer(tenant.devices), className: "number" },
    { head: s.admin.created, cell: (tenant) => <When at={tenant.created_at} /> },
    {
      head: s.admin.actions,
      cell: (tenant) => (
        <Button
          onClick={() => {
            go("/");
            chooseTenant(tenant.id);
          }}
        >
          {s.admin.openTenant}
        </Button>
      ),
    },
  ];
  return (
    <>
      {mayWrite && (
        <div className="toolbar">
          <Button kind="primary" icon="plus" onClick={() => setAdding(true)}>
            {s.admin.addTenant}
          </Button>
        </div>
      )}
      <DataTable label={s.admin.pages.tenants} columns={columns} keyOf={(tenant) => tenant.id} emptyTitle={s.admin.empty} pages={tenants} />
      {isAdding && (
        <FormDialog
          title={s.admin.addTenant}
          action={s.admin.add}
          onClose={() => setAdding(false)}
          onSubmit={async (form) => {
            await addTenant(textOf(form, "id"));
            await queries.invalidateQueries();
          }}
        >
          <Field label={s.admin.tenantName} hint={s.admin.tenantHint} name="id" required pattern="[a-z0-9\-]{2,32}" autoComplete="off" />
        </FormDialog>
      )}
    </>
  );
}
