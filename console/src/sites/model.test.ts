import { describe, expect, it } from "vitest";
import { daysWords, fileType, placeOf } from "./model";

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
