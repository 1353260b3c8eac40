import { useQuery, useQueryClient } from "@tanstack/react-query";
import { call, type Schemas } from "./client";

export type Letter = Schemas["LetterBody"];
export type Outcome = Schemas["OutcomeBody"];

const KEY = "/v1/dead-letters";
const MOST_AT_ONCE = 1000;

/** A letter with its payload, read when it is opened. */
export function useLetter(id: number) {
  return useQuery({
    queryKey: [KEY, id],
    queryFn: ({ signal }) => call("get", "/v1/dead-letters/{letter_id}", { path: { letter_id: id }, signal }),
  });
}

export function useReplays() {
  const queries = useQueryClient();
  const refresh = () => queries.invalidateQueries({ queryKey: [KEY] });
  return {
    one: async (id: number) => {
      const outcome = await call("post", "/v1/dead-letters/{letter_id}/replay", { path: { letter_id: id } });
      await refresh();
      return outcome;
    },
    /** The oldest thousand of a reason that were not replayed yet. */
    ofReason: async (reason: string) => {
      const { items } = await call("post", "/v1/dead-letters/replay", { body: { reason, limit: MOST_AT_ONCE } });
      await refresh();
      return items;
    },
  };
}
