import { LiveProvider } from "../live/LiveProvider";
import { Loading, ProblemNote } from "../ui/states";
import { ChooseTenant } from "./ChooseTenant";
import { useSession } from "./session";
import { Shell } from "./Shell";
import { SignIn } from "./SignIn";

/** Who is here decides what is shown; the address stays, so after signing in again one is back where one was. */
export function App() {
  const { state, tenant, restart } = useSession();
  switch (state.phase) {
    case "starting":
      return <Loading />;
    case "failed":
      return (
        <main className="gate">
          <ProblemNote error={state.error} onRetry={restart} />
        </main>
      );
    case "out":
      return <SignIn expired={state.expired} />;
    case "in":
      if (tenant === null) return <ChooseTenant />;
      return (
        <LiveProvider key={`${state.me.id} ${tenant}`}>
          <Shell />
        </LiveProvider>
      );
  }
}
