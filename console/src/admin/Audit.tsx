import type { AuditEntry } from "../api/accounts";
import { usePages } from "../api/page";
import { useLocale } from "../strings";
import { DataTable, type Column } from "../ui/DataTable";
import { When } from "../ui/When";

export function Audit() {
  const { s } = useLocale();
  const entries = usePages("/v1/audit", {});
  const columns: Column<AuditEntry>[] = [
    { head: s.admin.when, cell: (entry) => <When at={entry.at} /> },
    { head: s.admin.who, cell: (entry) => entry.actor_name || entry.actor_id },
    { head: s.admin.what, cell: (entry) => <code>{entry.action}</code> },
    { head: s.admin.target, cell: (entry) => <code>{entry.target}</code>, className: "wrap" },
    { head: s.admin.change, cell: (entry) => <Change entry={entry} />, className: "wrap" },
  ];
  return <DataTable label={s.admin.pages.audit} columns={columns} keyOf={(entry) => entry.id} emptyTitle={s.admin.empty} pages={entries} />;
}

/** The fields that differ, old and new. */
function Change({ entry: { before, after } }: { entry: AuditEntry }) {
  const text = (value: unknown) => (value === undefined || value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value));
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].filter(
    (name) => text(before?.[name]) !== text(after?.[name]),
  );
  return (
    <ul className="small">
      {names.map((name) => (
        <li key={name}>
          <span className="muted">{name}</span> {before !== null && <>{text(before[name])} → </>}
          {text(after?.[name])}
        </li>
      ))}
    </ul>
  );
}
