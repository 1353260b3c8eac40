/** What a shadow's two sides say of each name, and what becomes of an edit when somebody else has edited too. Pure. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Doc = { [name: string]: Json };

export interface Leaf {
  path: readonly string[];
  desired: Json | undefined;
  reported: Json | undefined;
  /** `differs`: wished and not so (the delta). `reported`: said by the device, wished by nobody. */
  state: "same" | "differs" | "reported";
  /** Epoch seconds; null: not known. */
  desiredAt: number | null;
  reportedAt: number | null;
}

export interface Sides {
  desired: Doc | undefined;
  reported: Doc | undefined;
  metadata: { desired?: unknown; reported?: unknown } | undefined;
}

export function isDoc(value: unknown): value is Doc {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function same(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, at) => same(item, b[at]));
  if (!isDoc(a) || !isDoc(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => name in b && same(a[name], b[name]));
}

/** Every leaf of both sides, by path. Arrays are leaves, as AWS IoT compares them whole. */
export function compare({ desired, reported, metadata }: Sides): Leaf[] {
  const leaves: Leaf[] = [];
  const visit = (path: string[], wish: Json | undefined, fact: Json | undefined, wishAt: unknown, factAt: unknown) => {
    const docs = [wish, fact].filter((side) => side !== undefined);
    if (docs.every((side) => isDoc(side) && Object.keys(side).length > 0)) {
      const names = new Set([wish, fact].flatMap((side) => (isDoc(side) ? Object.keys(side) : [])));
      for (const name of [...names].sort()) {
        visit([...path, name], child(wish, name), child(fact, name), childOf(wishAt, name), childOf(factAt, name));
      }
      return;
    }
    const state = wish === undefined ? "reported" : same(wish, fact) ? "same" : "differs";
    leaves.push({ path, desired: wish, reported: fact, state, desiredAt: stamp(wishAt), reportedAt: stamp(factAt) });
  };
  const names = new Set([...Object.keys(desired ?? {}), ...Object.keys(reported ?? {})]);
  for (const name of [...names].sort()) {
    visit([name], desired?.[name], reported?.[name], childOf(metadata?.desired, name), childOf(metadata?.reported, name));
  }
  return leaves;
}

function child(side: Json | undefined, name: string): Json | undefined {
  return isDoc(side) ? side[name] : undefined;
}

function childOf(side: unknown, name: string): unknown {
  return isDoc(side) ? side[name] : undefined;
}

/** The newest time below: an array has one for each of its items. */
function stamp(at: unknown): number | null {
  if (Array.isArray(at)) return newest(at);
  if (!isDoc(at)) return null;
  return typeof at.timestamp === "number" ? at.timestamp : newest(Object.values(at));
}

function newest(parts: unknown[]): number | null {
  const known = parts.map(stamp).filter((each) => each !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/** What must be sent so that `before` becomes `after`: null removes a name. Empty: nothing. */
export function patchOf(before: Doc, after: Doc): Doc {
  const patch: Doc = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [old, now] = [before[name], after[name]];
    if (now === undefined) patch[name] = null;
    else if (isDoc(old) && isDoc(now) && Object.keys(now).length > 0) {
      const inner = patchOf(old, now);
      if (Object.keys(inner).length > 0) patch[name] = inner;
    } else if (!same(old, now)) patch[name] = now;
  }
  return patch;
}

export interface Conflict {
  path: readonly string[];
  base: Json | undefined;
  mine: Json | undefined;
  theirs: Json | undefined;
}

export interface Merge {
  /** Both edits; where they differ over the same name, `theirs`. */
  merged: Doc;
  conflicts: Conflict[];
  /** What the others changed, for the reader to see. */
  theirChanges: Conflict[];
}

/** Bring an edit of `base` onto `theirs`, which others made of it meanwhile. */
export function merge(base: Doc, mine: Doc, theirs: Doc): Merge {
  const conflicts: Conflict[] = [];
  const theirChanges: Conflict[] = [];
  const visit = (path: string[], was: Json | undefined, my: Json | undefined, their: Json | undefined): Json | undefined => {
    if (same(my, their)) return their;
    const here = { path, base: was, mine: my, theirs: their };
    if (same(was, their)) return my;
    if (same(was, my)) {
      theirChanges.push(here);
      return their;
    }
    if (isDoc(my) && isDoc(their) && (was === undefined || isDoc(was))) return all(path, was ?? {}, my, their);
    conflicts.push(here);
    theirChanges.push(here);
    return their;
  };
  const all = (path: string[], was: Doc, my: Doc, their: Doc): Doc => {
    const merged: Doc = {};
    for (const name of [...new Set([...Object.keys(was), ...Object.keys(my), ...Object.keys(their)])]) {
      const value = visit([...path, name], was[name], my[name], their[name]);
      if (value !== undefined) merged[name] = value;
    }
    return merged;
  };
  return { merged: all([], base, mine, theirs), conflicts, theirChanges };
}

/** The document with `value` at `path`; undefined removes the name there. */
export function withValue(doc: Doc, path: readonly string[], value: Json | undefined): Doc {
  const [name, ...rest] = path;
  if (name === undefined) return doc;
  const inner = doc[name];
  const now = rest.length > 0 ? withValue(isDoc(inner) ? inner : {}, rest, value) : value;
  if (now !== undefined) return { ...doc, [name]: now };
  return Object.fromEntries(Object.entries(doc).filter(([other]) => other !== name));
}

export type Fault = { kind: "syntax"; detail: string } | { kind: "object" } | { kind: "null"; path: string } | { kind: "depth" } | { kind: "size"; bytes: number };

/** AWS IoT's limits of a shadow. */
const MOST_DEPTH = 6;
const MOST_BYTES = 8192;

/** The document that a person typed, or what is wrong with it. */
export function read(text: string): { doc: Doc } | { fault: Fault } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { fault: { kind: "syntax", detail: error instanceof Error ? error.message : String(error) } };
  }
  if (!isDoc(value)) return { fault: { kind: "object" } };
  const nothing = nullIn(value, []);
  if (nothing !== null) return { fault: { kind: "null", path: nothing.join(".") } };
  if (depth(value) > MOST_DEPTH) return { fault: { kind: "depth" } };
  const bytes = new TextEncoder().encode(JSON.stringify(value)).length;
  return bytes > MOST_BYTES ? { fault: { kind: "size", bytes } } : { doc: value };
}

function nullIn(value: Json, path: string[]): string[] | null {
  if (value === null) return path;
  const parts = Array.isArray(value) ? value.map((item, at) => [String(at), item] as const) : isDoc(value) ? Object.entries(value) : [];
  for (const [name, inner] of parts) {
    const found = nullIn(inner, [...path, name]);
    if (found !== null) return found;
  }
  return null;
}

function depth(value: Json): number {
  const inner = Array.isArray(value) ? value : isDoc(value) ? Object.values(value) : null;
  return inner === null ? 0 : 1 + Math.max(0, ...inner.map(depth));
}

/** A value as it is written in the table. */
export function written(value: Json | undefined): string {
  return value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}
