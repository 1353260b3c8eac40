import { useState } from "react";
import { useCommandChanges, useTemplates, type NewTemplate } from "../api/commands";
import { invalid } from "../api/problem";
import { useMay } from "../app/session";
import { useLocale } from "../strings";
import { Button } from "../ui/Button";
import { Confirm } from "../ui/Confirm";
import { DataTable, type Column } from "../ui/DataTable";
import { Field } from "../ui/Field";
import { FormDialog, textOf } from "../ui/FormDialog";
import type { Template } from "./form";

const EXAMPLE = '[{"name": "limit_kmh", "type": "INTEGER", "minimum": 5, "maximum": 120}]';

/** What may be sent. */
export function Templates() {
  const { s, f } = useLocale();
  const mayWrite = useMay("commands:write");
  const templates = useTemplates();
  const { changeTemplate } = useCommandChanges();
  const [isAdding, setAdding] = useState(false);
  const [turning, setTurning] = useState<Template | null>(null);
  const columns: Column<Template>[] = [
    { head: s.commands.template, cell: (template) => <strong>{template.id}</strong> },
    { head: s.commands.description, cell: (template) => template.description, className: "wrap" },
    { head: s.commands.parameters, cell: (template) => template.parameters.map((each) => `${each.name}: ${each.type}`).join(", "), className: "wrap" },
    {
      head: s.commands.safety,
      cell: (template) => (
        <>
          {template.dangerous && <span className="badge command-bad">{s.commands.isDangerous}</span>}{" "}
          {template.needs_approval && <span className="badge command-waits">{s.commands.twoPeople}</span>}{" "}
          {template.deprecated && <span className="badge">{s.commands.outOfUse}</span>}
        </>
      ),
    },
    { head: s.commands.sentWithin, cell: (template) => f.duration(template.expires_s * 1000) },
    ...(mayWrite
      ? [
          {
            head: s.admin.actions,
            cell: (template: Template) => (
              <Button onClick={() => setTurning(template)}>{template.deprecated ? s.commands.use : s.commands.retire}</Button>
            ),
          },
        ]
      : []),
  ];
  const pages = { ...templates, items: templates.data ?? [], hasNextPage: false, isFetchingNextPage: false, fetchNextPage: () => undefined };
  return (
    <>
      {mayWrite && (
        <div className="toolbar">
          <div className="row-actions end">
            <Button icon="plus" onClick={() => setAdding(true)}>
              {s.commands.addTemplate}
            </Button>
          </div>
        </div>
      )}
      <DataTable
        label={s.commands.tabs.templates}
        columns={columns}
        keyOf={(template) => template.id}
        emptyTitle={s.commands.noTemplates}
        emptyHint={s.commands.noTemplatesHint}
        pages={pages}
      />
      {isAdding && <AddTemplate onClose={() => setAdding(false)} />}
      {turning !== null && (
        <Confirm
          title={turning.deprecated ? s.commands.useQuestion(turning.id) : s.commands.retireQuestion(turning.id)}
          consequence={turning.deprecated ? s.commands.useHint : s.commands.retireHint}
          action={turning.deprecated ? s.commands.use : s.commands.retire}
          onConfirm={() => changeTemplate(turning.id, { deprecated: !turning.deprecated })}
          onClose={() => setTurning(null)}
        />
      )}
    </>
  );
}

function AddTemplate({ onClose }: { onClose: () => void }) {
  const { s } = useLocale();
  const { addTemplate } = useCommandChanges();
  const submit = async (form: FormData) => {
    await addTemplate({
      id: textOf(form, "id"),
      description: textOf(form, "description"),
      parameters: parametersOf(textOf(form, "parameters"), s.commands.parametersBad),
      dangerous: form.get("dangerous") !== null,
      needs_approval: form.get("approval") !== null,
      expires_s: Number(textOf(form, "expires")),
      timeout_s: Number(textOf(form, "timeout")),
    } as NewTemplate);
  };
  return (
    <FormDialog title={s.commands.addTemplate} action={s.states.save} onSubmit={submit} onClose={onClose}>
      <Field label={s.commands.template} name="id" required pattern="[A-Za-z0-9_\-]{1,64}" autoComplete="off" />
      <Field label={s.commands.description} name="description" maxLength={1000} autoComplete="off" />
      <div className="field">
        <label htmlFor="template-parameters">{s.commands.parameters}</label>
        <textarea id="template-parameters" name="parameters" className="code-area" rows={6} spellCheck={false} placeholder={EXAMPLE} />
        <p className="muted small">{s.commands.parametersHint}</p>
      </div>
      <Field label={s.commands.expires} hint={s.commands.expiresLead} name="expires" type="number" min="5" max="2592000" defaultValue="300" required />
      <Field label={s.commands.timeout} hint={s.commands.timeoutHint} name="timeout" type="number" min="5" max="604800" defaultValue="60" required />
      <label className="choice">
        <input type="checkbox" name="dangerous" /> {s.commands.dangerousChoice}
      </label>
      <label className="choice">
        <input type="checkbox" name="approval" /> {s.commands.approvalChoice}
      </label>
    </FormDialog>
  );
}

function parametersOf(text: string, bad: string): unknown {
  if (text === "") return [];
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value)) return value;
  } catch {
    // Told below, as anything else that is no list.
  }
  throw invalid(bad);
}
