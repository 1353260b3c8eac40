import { describe, expect, it } from "vitest";
import { controlOf, initial, isOver, labelsOf, read, toneOf, type Parameter, type Template } from "./form";

const parameter = (change: Partial<Parameter> & Pick<Parameter, "name" | "type">): Parameter => ({ description: "", required: true, default: null, ...change });
const template = (...parameters: Parameter[]): Template => ({ parameters }) as Template;

describe("the form of a template", () => {
  it("asks for each parameter in its own way", () => {
    expect(controlOf(parameter({ name: "a", type: "INTEGER" }))).toEqual({ kind: "number", step: "1" });
    expect(controlOf(parameter({ name: "a", type: "DOUBLE" }))).toEqual({ kind: "number", step: "any" });
    expect(controlOf(parameter({ name: "a", type: "BOOLEAN" }))).toEqual({ kind: "flag" });
    expect(controlOf(parameter({ name: "a", type: "STRING" }))).toEqual({ kind: "text" });
    expect(controlOf(parameter({ name: "a", type: "INTEGER", allowed: [30, 50] }))).toEqual({ kind: "choice", options: ["30", "50"] });
  });

  it("begins with what is sent where nothing is given", () => {
    expect(initial(template(parameter({ name: "a", type: "INTEGER", default: 30 }), parameter({ name: "b", type: "STRING" })))).toEqual({ a: "30", b: "" });
  });

  it("reads each value as its type and leaves out what is empty and may be", () => {
    const asked = template(
      parameter({ name: "limit", type: "INTEGER", minimum: 5, maximum: 120 }),
      parameter({ name: "ratio", type: "DOUBLE", required: false }),
      parameter({ name: "soft", type: "BOOLEAN", default: false }),
      parameter({ name: "text", type: "STRING", max_length: 4 }),
      parameter({ name: "key", type: "BINARY" }),
    );
    expect(read(asked, { limit: "30", ratio: "", soft: "true", text: "stop", key: "AAE=" })).toEqual({
      parameters: { limit: 30, soft: true, text: "stop", key: "AAE=" },
      faults: {},
    });
    expect(read(asked, { limit: "", ratio: "x", soft: "", text: "stops", key: "AAE" }).faults).toEqual({
      limit: "missing",
      ratio: "number",
      text: "long",
      key: "base64",
    });
  });

  it.each([
    ["INTEGER", "4", "least"],
    ["INTEGER", "121", "most"],
    ["INTEGER", "30.5", "whole"],
    ["LONG", "9007199254740993", "exact"],
    ["UNSIGNEDLONG", "-1", "least"],
    ["DOUBLE", "Infinity", "number"],
  ] as const)("refuses %s %s: %s", (type, typed, fault) => {
    const limits = type === "INTEGER" ? { minimum: 5, maximum: 120 } : {};
    expect(read(template(parameter({ name: "a", type, ...limits })), { a: typed }).faults).toEqual({ a: fault });
  });
});

describe("states", () => {
  it("are over or go on, and look so", () => {
    expect((["SUCCEEDED", "EXPIRED", "CANCELLED", "TIMED_OUT"] as const).map(isOver)).toEqual([true, true, true, true]);
    expect((["CREATED", "SENT", "IN_PROGRESS", "AWAITING_APPROVAL"] as const).map(isOver)).toEqual([false, false, false, false]);
    expect((["SUCCEEDED", "REJECTED", "AWAITING_APPROVAL", "SENT"] as const).map(toneOf)).toEqual(["good", "bad", "waits", "goes"]);
  });
});

describe("labels of a group", () => {
  it("are pairs", () => {
    expect(labelsOf("depot:north, kind=tanker")).toEqual({ depot: "north", kind: "tanker" });
    expect(labelsOf("")).toBeNull();
    expect(labelsOf("depot")).toBeNull();
    expect(labelsOf("depot:")).toBeNull();
  });
});
