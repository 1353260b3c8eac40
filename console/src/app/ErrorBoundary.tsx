import { Component, type ReactNode } from "react";
import { Button } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { useLocale } from "../strings";

interface Props {
  children: ReactNode;
}

/** Whatever breaks below, the reader gets a sentence and a way on instead of an empty page. */
export class ErrorBoundary extends Component<Props, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: Error } {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override render(): ReactNode {
    return this.state.error === null ? this.props.children : <Broken error={this.state.error} />;
  }
}

function Broken({ error }: { error: Error }) {
  const { s } = useLocale();
  return (
    <div className="state" role="alert">
      <Icon name="alert" size={28} />
      <h1 className="state-title">{s.states.broken}</h1>
      <p className="muted">{s.states.brokenHint}</p>
      <Button kind="primary" onClick={() => window.location.reload()}>
        {s.states.reload}
      </Button>
      <pre className="small muted">{error.message}</pre>
    </div>
  );
}
