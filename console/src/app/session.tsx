import { useQueryClient } from "@tanstack/react-query";
import { createContext, use, useCallback, useEffect, useMemo, useState, type ReactNode } from "react";
import { setCredentials, whenSignedOut } from "../api/client";
import { changePassword, readSession, signIn, signOut, type Me, type Scope, type SignIn } from "../api/session";
import { ApiError } from "../api/problem";
import { remember, remembered } from "./memory";

type State =
  | { phase: "starting" }
  | { phase: "failed"; error: unknown }
  | { phase: "out"; expired: boolean }
  | { phase: "in"; me: Me };

interface SessionValue {
  state: State;
  /** The tenant in view: one's own, or the one an operator chose; null while he has not. */
  tenant: string | null;
  chooseTenant: (tenant: string | null) => void;
  enter: (form: SignIn) => Promise<void>;
  changePassword: (passwords: { current: string; new: string }) => Promise<void>;
  leave: () => Promise<void>;
  /** Ask the server who this is: at start, and when live data say that something changed. */
  restart: () => void;
}

const SessionContext = createContext<SessionValue | null>(null);

export function SessionProvider({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [state, setState] = useState<State>({ phase: "starting" });
  const [chosen, setChosen] = useState<string | null>(() => remembered("tenant"));

  const accept = useCallback((me: Me) => {
    setCredentials({ csrf: me.csrf, tenant: me.tenant === null ? remembered("tenant") : null });
    setState({ phase: "in", me });
  }, []);

  const restart = useCallback(() => {
    readSession().then(accept, (error: unknown) => {
      const isOut = error instanceof ApiError && error.problem.status === 401;
      setState((now) => {
        if (isOut) return { phase: "out", expired: now.phase === "in" };
        return now.phase === "in" ? now : { phase: "failed", error };
      });
    });
  }, [accept]);

  useEffect(() => {
    whenSignedOut(() => setState((now) => (now.phase === "in" ? { phase: "out", expired: true } : now)));
    restart();
  }, [restart]);

  const chooseTenant = useCallback(
    (tenant: string | null) => {
      remember("tenant", tenant ?? "");
      setCredentials({ tenant });
      queries.clear();
      setChosen(tenant);
    },
    [queries],
  );

  const value = useMemo<SessionValue>(() => {
    const me = state.phase === "in" ? state.me : null;
    return {
      state,
      tenant: me?.tenant ?? (chosen === "" ? null : chosen),
      chooseTenant,
      restart,
      enter: async (form) => {
        accept(await signIn(form));
        await queries.invalidateQueries();
      },
      changePassword: async (passwords) => accept(await changePassword(passwords)),
      leave: async () => {
        await signOut();
        queries.clear();
        setCredentials({ csrf: null, tenant: null });
        setState({ phase: "out", expired: false });
      },
    };
  }, [state, chosen, chooseTenant, restart, accept, queries]);
  return <SessionContext value={value}>{children}</SessionContext>;
}

export function useSession(): SessionValue {
  const session = use(SessionContext);
  if (session === null) throw new Error("useSession outside of SessionProvider");
  return session;
}

/** Whoever is signed in. For components below the sign-in gate alone. */
export function useMe(): Me {
  const { state } = useSession();
  if (state.phase !== "in") throw new Error("useMe outside of a session");
  return state.me;
}

export function useMay(scope: Scope): boolean {
  return useMe().scopes.includes(scope);
}
