/** A command's parameters as a form. Pure. */
import type { Schemas } from "../api/client";

export type Template = Schemas["TemplateBody"];
export type Parameter = Schemas["ParameterBody"];
type Value = string | number | boolean;
export type Parameters = Record<string, Value>;

export type Fault = "missing" | "number" | "whole" | "least" | "most" | "long" | "base64" | "exact";

/** How a parameter is asked for. */
export type Control = { kind: "choice"; options: string[] } | { kind: "flag" } | { kind: "number"; step: "1" | "any" } | { kind: "text" };

const WHOLE = new Set(["INTEGER", "LONG", "UNSIGNEDLONG"]);

export function controlOf(parameter: Parameter): Control {
  if (parameter.allowed) return { kind: "choice", options: parameter.allowed.map(String) };
  if (parameter.type === "BOOLEAN") return { kind: "flag" };
  if (WHOLE.has(parameter.type)) return { kind: "number", step: "1" };
  return parameter.type === "DOUBLE" ? { kind: "number", step: "any" } : { kind: "text" };
}

export function isRequired(parameter: Parameter): boolean {
  return parameter.required && (parameter.default ?? null) === null;
}

/** What stands in the form before anybody typed. */
export function initial(template: Template): Record<string, string> {
  const filled = template.parameters.map((each) => [each.name, each.default === null || each.default === undefined ? "" : String(each.default)] as const);
  return Object.fromEntries(filled);
}

/** What is sent, or what is wrong with each name. A field left empty is not sent. */
export function read(template: Template, typed: Readonly<Record<string, string>>): { parameters: Parameters; faults: Record<string, Fault> } {
  const parameters: Parameters = {};
  const faults: Record<string, Fault> = {};
  for (const parameter of template.parameters) {
    const text = (typed[parameter.name] ?? "").trim();
    if (text === "") {
      if (isRequired(parameter)) faults[parameter.name] = "missing";
      continue;
    }
    const found = valueOf(parameter, text);
    if ("fault" in found) faults[parameter.name] = found.fault;
    else parameters[parameter.name] = found.value;
  }
  return { parameters, faults };
}

function valueOf(parameter: Parameter, text: string): { value: Value } | { fault: Fault } {
  switch (parameter.type) {
    case "BOOLEAN":
      return { value: text === "true" };
    case "STRING":
      return text.length > (parameter.max_length ?? Infinity) ? { fault: "long" } : { value: text };
    case "BINARY":
      return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) ? { value: text } : { fault: "base64" };
    default:
      return numberOf(parameter, text);
  }
}

function numberOf(parameter: Parameter, text: string): { value: number } | { fault: Fault } {
  const value = Number(text);
  if (!Number.isFinite(value)) return { fault: "number" };
  if (WHOLE.has(parameter.type)) {
    if (!Number.isInteger(value)) return { fault: "whole" };
    // Beyond this a browser's numbers have gaps: another value would be sent than was typed.
    if (!Number.isSafeInteger(value)) return { fault: "exact" };
    if (parameter.type === "UNSIGNEDLONG" && value < 0) return { fault: "least" };
  }
  if (value < (parameter.minimum ?? -Infinity)) return { fault: "least" };
  if (value > (parameter.maximum ?? Infinity)) return { fault: "most" };
  return { value };
}

export type State = Schemas["CommandBody"]["state"];

const OVER: ReadonlySet<State> = new Set<State>(["SUCCEEDED", "FAILED", "REJECTED", "TIMED_OUT", "EXPIRED", "CANCELLED"]);

/** Whether nothing more comes of it by itself. */
export function isOver(state: State): boolean {
  return OVER.has(state);
}

/** How a state looks: done, wrong, or still going. */
export function toneOf(state: State): "good" | "bad" | "waits" | "goes" {
  if (state === "SUCCEEDED") return "good";
  if (state === "FAILED" || state === "REJECTED" || state === "TIMED_OUT" || state === "EXPIRED") return "bad";
  return state === "AWAITING_APPROVAL" || state === "CANCELLED" ? "waits" : "goes";
}

/** `key:value` pairs, one a line or with commas between, as labels; null where one is no pair. */
export function labelsOf(text: string): Record<string, string> | null {
  const pairs = text.split(/[,\n]/).map((each) => each.trim()).filter((each) => each !== "");
  const labels: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.search(/[:=]/);
    if (at < 1 || at === pair.length - 1) return null;
    labels[pair.slice(0, at).trim()] = pair.slice(at + 1).trim();
  }
  return pairs.length === 0 ? null : labels;
}
