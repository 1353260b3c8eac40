import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { isOver } from "../control/form";
import { useChannel } from "../live/LiveProvider";
import { call, type Schemas } from "./client";

export type Command = Schemas["CommandBody"];
export type WholeCommand = Schemas["WholeCommandBody"];
export type Batch = Schemas["BatchBody"];
export type NewCommand = Schemas["NewCommand"];
export type NewBatch = Schemas["NewBatch"];
export type NewTemplate = Schemas["NewTemplate"];
export type TemplateChange = Schemas["TemplateChange"];

const TEMPLATES = ["/v1/command-templates"];
const MOST_TEMPLATES = 1000;
/** Live news come by the channel; this is for a line that is down. */
const AGAIN_MS = 3000;
const GATHER_MS = 200;

/** Lists of commands, by path as `usePages` keys them, and single ones: all that a change may touch. */
const TOUCHED = new Set(["/v1/commands", "/v1/devices/{device}/commands", "/v1/command-batches", "command", "command-batch"]);

function isTouched({ queryKey }: { queryKey: readonly unknown[] }): boolean {
  return typeof queryKey[0] === "string" && TOUCHED.has(queryKey[0]);
}

/** Keep what is shown of commands in step with the live channel while a component is there. */
export function useLiveCommands(): void {
  const queries = useQueryClient();
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const soon = () => {
    timer.current ??= setTimeout(() => {
      timer.current = null;
      void queries.invalidateQueries({ predicate: isTouched });
    }, GATHER_MS);
  };
  useChannel("commands", { snapshot: soon, events: soon });
  useEffect(() => {
    const poll = setInterval(() => void queries.invalidateQueries({ predicate: isTouched }), AGAIN_MS);
    return () => {
      clearInterval(poll);
      if (timer.current !== null) clearTimeout(timer.current);
    };
  }, [queries]);
}

export function useTemplates() {
  return useQuery({
    queryKey: TEMPLATES,
    queryFn: async ({ signal }) => (await call("get", "/v1/command-templates", { query: { limit: MOST_TEMPLATES }, signal })).items,
  });
}

export function useCommand(id: string) {
  return useQuery({
    queryKey: ["command", id],
    queryFn: ({ signal }) => call("get", "/v1/commands/{command}", { path: { command: id }, signal }),
    staleTime: (query) => (query.state.data !== undefined && isOver(query.state.data.state) ? AGAIN_MS : 0),
  });
}

export type Decision = "cancel" | "approve" | "deny";

/** Everything that is sent and decided; the lists are read anew after each. */
export function useCommandChanges() {
  const queries = useQueryClient();
  const afresh = async <T>(change: Promise<T>) => {
    try {
      return await change;
    } finally {
      await queries.invalidateQueries({ predicate: isTouched });
    }
  };
  return {
    send: (body: NewCommand) => afresh(call("post", "/v1/commands", { body })),
    sendToGroup: (body: NewBatch) => afresh(call("post", "/v1/command-batches", { body })),
    decide: (id: string, decision: Decision, reason: string) => {
      const path = { command: id };
      if (decision === "approve") return afresh(call("post", "/v1/commands/{command}/approve", { path }));
      if (decision === "deny") return afresh(call("post", "/v1/commands/{command}/deny", { path, body: { reason } }));
      return afresh(call("post", "/v1/commands/{command}/cancel", { path, body: { reason } }));
    },
    decideGroup: (id: string, decision: Decision, reason: string) => {
      const path = { batch: id };
      if (decision === "approve") return afresh(call("post", "/v1/command-batches/{batch}/approve", { path }));
      if (decision === "deny") return afresh(call("post", "/v1/command-batches/{batch}/deny", { path, body: { reason } }));
      return afresh(call("post", "/v1/command-batches/{batch}/cancel", { path, body: { reason } }));
    },
    addTemplate: async (body: NewTemplate) => {
      await call("post", "/v1/command-templates", { body });
      await queries.invalidateQueries({ queryKey: TEMPLATES });
    },
    changeTemplate: async (template: string, body: TemplateChange) => {
      await call("patch", "/v1/command-templates/{template}", { path: { template }, body });
      await queries.invalidateQueries({ queryKey: TEMPLATES });
    },
  };
}
