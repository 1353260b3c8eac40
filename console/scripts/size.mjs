// The first view must stay below the limit (gzip), with the map library left out: it loads after sign-in, in its own chunk.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_BYTES = 500_000;
const dist = join(import.meta.dirname, "..", "dist");
const manifest = JSON.parse(readFileSync(join(dist, "manifest.json"), "utf8"));
const isMapLibrary = (key) => key.includes("maplibre-gl");

// Static and lazy imports both count: the worst case is a first view that loads every page of the console.
const seen = new Set();
const files = new Set(["index.html", "favicon.svg"]);
const visit = (key) => {
  if (seen.has(key) || isMapLibrary(key)) return;
  seen.add(key);
  const entry = manifest[key];
  files.add(entry.file);
  for (const file of [...(entry.css ?? []), ...(entry.assets ?? [])]) files.add(file);
  for (const next of [...(entry.imports ?? []), ...(entry.dynamicImports ?? [])]) visit(next);
};
visit("index.html");

let total = 0;
for (const file of [...files].filter((name) => !isMapLibrary(name)).sort()) {
  const size = gzipSync(readFileSync(join(dist, file))).length;
  total += size;
  console.log(`${String(size).padStart(8)}  ${file}`);
}
console.log(`${String(total).padStart(8)}  bytes gzip, of ${LIMIT_BYTES} allowed`);
if (total >= LIMIT_BYTES) process.exit(1);
