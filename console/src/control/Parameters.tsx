import { useId } from "react";
import { useLocale, type Strings } from "../strings";
import { controlOf, isRequired, type Fault, type Parameter, type Template } from "./form";

interface Props {
  template: Template;
  values: Readonly<Record<string, string>>;
  /** Shown once somebody tried to send. */
  faults: Readonly<Record<string, Fault>>;
  onChange: (values: Record<string, string>) => void;
}

/** The typed form of a template's parameters. */
export function ParameterFields({ template, values, faults, onChange }: Props) {
  const { s } = useLocale();
  if (template.parameters.length === 0) return <p className="muted">{s.commands.noParameters}</p>;
  return (
    <>
      {template.parameters.map((parameter) => (
        <ParameterField
          key={parameter.name}
          parameter={parameter}
          value={values[parameter.name] ?? ""}
          fault={faults[parameter.name]}
          onChange={(value) => onChange({ ...values, [parameter.name]: value })}
        />
      ))}
    </>
  );
}

interface FieldProps {
  parameter: Parameter;
  value: string;
  fault: Fault | undefined;
  onChange: (value: string) => void;
}

function ParameterField({ parameter, value, fault, onChange }: FieldProps) {
  const { s } = useLocale();
  const id = useId();
  const control = controlOf(parameter);
  const common = { id, value, "aria-invalid": fault !== undefined || undefined, "aria-describedby": `${id}-hint` };
  const hint = [parameter.description, rangeOf(parameter, s)].filter((part) => part !== "").join(" · ");
  return (
    <div className="field">
      <label htmlFor={id}>
        {parameter.name}
        {!isRequired(parameter) && <span className="muted"> {s.commands.optional}</span>}
      </label>
      {control.kind === "choice" || control.kind === "flag" ? (
        <select {...common} onChange={(event) => onChange(event.target.value)}>
          <option value="">{s.commands.choose}</option>
          {(control.kind === "flag" ? ["true", "false"] : control.options).map((option) => (
            <option key={option} value={option}>
              {control.kind === "flag" ? (option === "true" ? s.commands.yes : s.commands.no) : option}
            </option>
          ))}
        </select>
      ) : (
        <input
          {...common}
          autoComplete="off"
          inputMode={control.kind === "number" ? "decimal" : undefined}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
      <p id={`${id}-hint`} className={fault === undefined ? "muted small" : "fault small"}>
        {fault === undefined ? hint : s.commands.faults[fault]}
      </p>
    </div>
  );
}

function rangeOf(parameter: Parameter, s: Strings): string {
  const [least, most] = [parameter.minimum ?? null, parameter.maximum ?? null];
  if (least !== null && most !== null) return s.commands.between(least, most);
  if (least !== null) return s.commands.atLeast(least);
  return most === null ? "" : s.commands.atMost(most);
}
