import { describe, expect, it } from "vitest";
import { compare, isDoc, merge, patchOf, read, withValue, type Doc } from "./compare";

const at = (timestamp: number) => ({ timestamp });

/** AWS IoT's merge: null removes, objects merge, everything else replaces. */
function applied(doc: Doc, patch: Doc): Doc {
  const after = new Map(Object.entries(doc));
  for (const [name, value] of Object.entries(patch)) {
    const old = after.get(name);
    if (value === null) after.delete(name);
    else after.set(name, isDoc(value) && isDoc(old) ? applied(old, value) : value);
  }
  return Object.fromEntries(after);
}

describe("the two sides of a shadow", () => {
  it("are compared leaf by leaf, each with the time it was set", () => {
    const leaves = compare({
      desired: { cooling: { target_c: 3, fan: "auto" }, horn: true },
      reported: { cooling: { target_c: 4, fan: "auto" }, door: "shut" },
      metadata: {
        desired: { cooling: { target_c: at(20), fan: at(10) }, horn: at(30) },
        reported: { cooling: { target_c: at(15), fan: at(16) }, door: at(17) },
      },
    });
    expect(leaves.map((leaf) => [leaf.path.join("."), leaf.state, leaf.desiredAt, leaf.reportedAt])).toEqual([
      ["cooling.fan", "same", 10, 16],
      ["cooling.target_c", "differs", 20, 15],
      ["door", "reported", null, 17],
      ["horn", "differs", 30, null],
    ]);
  });

  it("take arrays whole, and a value where the other has an object as a difference", () => {
    const leaves = compare({
      desired: { stops: [1, 2], mode: { eco: true } },
      reported: { stops: [1, 3], mode: "eco" },
      metadata: { desired: { stops: [at(5), at(7)] }, reported: {} },
    });
    expect(leaves.map((leaf) => [leaf.path.join("."), leaf.state, leaf.desiredAt])).toEqual([
      ["mode", "differs", null],
      ["stops", "differs", 7],
    ]);
  });

  it("may be missing altogether", () => {
    expect(compare({ desired: undefined, reported: undefined, metadata: undefined })).toEqual([]);
    expect(compare({ desired: { empty: {} }, reported: undefined, metadata: undefined })[0]?.state).toBe("differs");
  });
});

describe("a patch", () => {
  const cases: [Doc, Doc, Doc][] = [
    [{ a: 1 }, { a: 1 }, {}],
    [{ a: 1, b: 2 }, { a: 3 }, { a: 3, b: null }],
    [{ a: { x: 1, y: 2 } }, { a: { x: 1, y: 3 } }, { a: { y: 3 } }],
    [{ a: { x: 1 } }, { a: {} }, { a: {} }],
    [{ a: [1, 2] }, { a: [1] }, { a: [1] }],
    [{ a: 1 }, { a: { x: 1 } }, { a: { x: 1 } }],
    [{}, { a: { x: { y: 1 } } }, { a: { x: { y: 1 } } }],
  ];
  it.each(cases)("from %j to %j is %j", (before, after, patch) => {
    expect(patchOf(before, after)).toEqual(patch);
  });

  it("makes of the one document the other", () => {
    for (const [before, after] of cases) {
      // An object emptied name by name is the one thing that merging cannot say.
      if (JSON.stringify(after) === '{"a":{}}') continue;
      expect(applied(before, patchOf(before, after))).toEqual(after);
    }
  });
});

describe("two edits of one document", () => {
  const base: Doc = { cooling: { target_c: 4, fan: "auto" }, limit: 80, horn: false };

  it("go together where they touch different names", () => {
    const { merged, conflicts, theirChanges } = merge(
      base,
      { cooling: { target_c: 3, fan: "auto" }, limit: 80, horn: false },
      { cooling: { target_c: 4, fan: "low" }, limit: 80, horn: false },
    );
    expect(merged).toEqual({ cooling: { target_c: 3, fan: "low" }, limit: 80, horn: false });
    expect(conflicts).toEqual([]);
    expect(theirChanges.map((change) => change.path.join("."))).toEqual(["cooling.fan"]);
  });

  it("are in conflict where they change one name to two values, and theirs stands until one chooses", () => {
    const { merged, conflicts } = merge(base, { ...base, limit: 60 }, { ...base, limit: 50 });
    expect(conflicts).toEqual([{ path: ["limit"], base: 80, mine: 60, theirs: 50 }]);
    expect(merged.limit).toBe(50);
    expect(withValue(merged, ["limit"], 60)).toEqual({ ...base, limit: 60 });
  });

  it("keep a removal on either side, and name it where the other side changed what was removed", () => {
    const { horn: _, ...without } = base;
    expect(merge(base, without, base).merged).toEqual(without);
    expect(merge(base, base, without).merged).toEqual(without);
    expect(merge(base, without, { ...base, horn: true }).conflicts).toEqual([
      { path: ["horn"], base: false, mine: undefined, theirs: true },
    ]);
    expect(withValue({ ...base, horn: true }, ["horn"], undefined)).toEqual(without);
  });

  it("say nothing where both did the same", () => {
    expect(merge(base, { ...base, limit: 60 }, { ...base, limit: 60 }).conflicts).toEqual([]);
  });
});

describe("what a person typed", () => {
  it("is read, or refused with what is wrong", () => {
    expect(read('{"a": 1}')).toEqual({ doc: { a: 1 } });
    expect(read("{")).toMatchObject({ fault: { kind: "syntax" } });
    expect(read("[1]")).toEqual({ fault: { kind: "object" } });
    expect(read('{"a": {"b": [1, null]}}')).toEqual({ fault: { kind: "null", path: "a.b.1" } });
    expect(read('{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}')).toMatchObject({ doc: {} });
    expect(read('{"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}}}')).toEqual({ fault: { kind: "depth" } });
    expect(read(JSON.stringify({ a: "x".repeat(8185) }))).toEqual({ fault: { kind: "size", bytes: 8193 } });
  });
});
