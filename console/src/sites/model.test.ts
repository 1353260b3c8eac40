import { describe, expect, it } from "vitest";
import { cornerLine, cornersOf, daysWords, fileType, placeOf } from "./model";

const NAMES = { mon: "Mon", tue: "Tue", wed: "Wed", thu: "Thu", fri: "Fri", sat: "Sat", sun: "Sun" };

describe("days in words", () => {
  it("draws runs of three or more together", () => {
    expect(daysWords(["fri", "mon", "tue", "wed", "thu"], NAMES)).toBe("Mon–Fri");
    expect(daysWords(["sat", "sun"], NAMES)).toBe("Sat, Sun");
    expect(daysWords(["mon", "wed", "thu", "fri", "sun"], NAMES)).toBe("Mon, Wed–Fri, Sun");
    expect(daysWords([], NAMES)).toBe("");
  });
});

describe("a file to import", () => {
  it("is known by its ending or by what is in it", () => {
    expect(fileType("sites.CSV", "a")).toBe("text/csv");
    expect(fileType("sites.geojson", "")).toBe("application/geo+json");
    expect(fileType("download", ' {"type":"FeatureCollection"}')).toBe("application/geo+json");
    expect(fileType("download", "code;name\n1;2")).toBe("text/csv");
    expect(fileType("photo.png", "PNG")).toBeNull();
  });
});

describe("a place", () => {
  it("is read with a point or a comma, and refused off the earth", () => {
    expect(placeOf("47,9", "10.2")).toEqual({ lat: 47.9, lon: 10.2 });
    expect(placeOf("91", "0")).toBeNull();
    expect(placeOf("", "10")).toBeNull();
    expect(placeOf("x", "10")).toBeNull();
  });
});

describe("the corners of an area", () => {
  const corners = [
    { lat: 47.9, lon: 10.2 },
    { lat: 47.91, lon: 10.2 },
    { lat: 47.91, lon: -0.5 },
  ];

  it.each([
    ["with a comma and a space", "47.9, 10.2\n47.91, 10.2\n47.91, -0.5"],
    ["with a comma alone, and empty lines", "47.9,10.2\n\n47.91,10.2\n47.91,-0.5\n"],
    ["with decimal commas", "47,9 10,2\n47,91; 10,2\n47,91, -0,5"],
  ])("are read %s", (_, text) => {
    expect(cornersOf(text)).toEqual(corners);
  });

  it("are read as they are written", () => {
    expect(cornersOf(corners.map(cornerLine).join("\n"))).toEqual(corners);
    expect(cornersOf("")).toEqual([]);
  });

  it("are not understood where one line is no place", () => {
    expect(cornersOf("47.9, 10.2\n97.9, 10.2")).toBeNull();
    expect(cornersOf("47.9")).toBeNull();
    expect(cornersOf("47.9, 10.2, 5")).toBeNull();
    expect(cornersOf("north, 10.2")).toBeNull();
  });
});
