import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { ErrorBoundary } from "./app/ErrorBoundary";
import { SessionProvider } from "./app/session";
import { startTheme } from "./app/theme";
import { problemOf } from "./api/problem";
import { LocaleProvider } from "./strings";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/shell.css";
import "./styles/fleet.css";
import "./styles/device.css";
import "./styles/trips.css";
import "./styles/twin.css";

const RETRIES = 2;

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 15_000,
      // A refusal stays a refusal; only what a moment's pause can mend is asked again.
      retry: (count, error) => count < RETRIES && [0, 502, 503, 504].includes(problemOf(error).status),
    },
  },
});

startTheme();
const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <LocaleProvider>
      <ErrorBoundary>
        <QueryClientProvider client={queries}>
          <SessionProvider>
            <App />
          </SessionProvider>
        </QueryClientProvider>
      </ErrorBoundary>
    </LocaleProvider>
  </StrictMode>,
);
