import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const api = process.env.MILKRUN_API_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2022",
    sourcemap: false,
    // Nothing inlined as data: URIs, so that the Content-Security-Policy can stay at 'self'.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1200,
    manifest: "manifest.json",
    rolldownOptions: {
      // The console, and the page of a tracking link, which shares nothing with it.
      input: { index: "index.html", track: "track.html" },
      output: { codeSplitting: { groups: [{ name: "maplibre-gl", test: /node_modules[\\/](maplibre-gl|@maplibre|@mapbox|pmtiles)/ }] } },
    },
  },
  server: {
    proxy: {
      "/v1": { target: api, ws: true },
      "/oauth": { target: api },
      "/console/config.json": { target: api },
    },
  },
});
