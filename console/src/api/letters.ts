import { useQuery, useQueryClient } from "@tanstack/react-query";
import { call } from "./client";

export interface Letter {
  id: number;
  thing: string | null;
  received_at: string;
  source: string;
  topic: string;
  reason: string;
  detail: string;
  size: number;
  replayed_at: string | null;
}

interface WholeLetter extends Letter {
  payload_base64: string;
  text: string | null;
}

export interface Outcome {
  id: number;
  settled: boolean;
  stored: number;
  present: number;
  refused: { reason: string; detail: string }[];
}

const PATH = "/v1/dead-letters";
const MOST_AT_ONCE = 1000;

export const LETTERS_PATH = PATH;

/** A letter with its payload, read when it is opened. */
export function useLetter(id: number) {
  return useQuery({
    queryKey: [PATH, id],
    queryFn: ({ signal }) => call<WholeLetter>("GET", `${PATH}/${id}`, { signal }),
  });
}

export function useReplays() {
  const queries = useQueryClient();
  const refresh = () => queries.invalidateQueries({ queryKey: [PATH] });
  return {
    one: async (id: number) => {
      const outcome = await call<Outcome>("POST", `${PATH}/${id}/replay`);
      await refresh();
      return outcome;
    },
    /** The oldest thousand of a reason that were not replayed yet. */
    ofReason: async (reason: string) => {
      const { items } = await call<{ items: Outcome[] }>("POST", `${PATH}/replay`, { body: { reason, limit: MOST_AT_ONCE } });
      await refresh();
      return items;
    },
  };
}
