import { useState } from "react";
import { Link } from "wouter";
import { useNoticeChanges, type Notice } from "../api/notices";
import { usePages } from "../api/page";
import { useLocale } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Empty, Loading, ProblemNote } from "../ui/states";
import { When } from "../ui/When";

/** What one was told, newest first; what is unread stands out. */
export function Inbox() {
  const { s } = useLocale();
  const notices = usePages("/v1/notices", {});
  const { read, readAll } = useNoticeChanges();
  const [error, setError] = useState<unknown>(null);
  const run = (change: Promise<unknown>) => {
    setError(null);
    void change.catch(setError);
  };
  if (notices.isPending) return <Loading />;
  if (notices.isError && notices.items.length === 0) return <ProblemNote error={notices.error} onRetry={() => void notices.refetch()} />;
  if (notices.items.length === 0) {
    return (
      <Empty title={s.alerts.inboxEmpty} hint={s.alerts.inboxEmptyHint} icon="bell">
        <Link href="/alerts/preferences" className="button">
          {s.alerts.tabs.preferences}
        </Link>
      </Empty>
    );
  }
  const hasUnread = notices.items.some((notice) => notice.read_at === null);
  return (
    <>
      {hasUnread && (
        <div className="toolbar">
          <Button onClick={() => run(readAll())}>{s.alerts.markAll}</Button>
        </div>
      )}
      {error !== null && <ProblemNote error={error} />}
      <ul className="inbox" aria-label={s.alerts.tabs.inbox}>
        {notices.items.map((notice) => (
          <Line key={notice.id} notice={notice} onRead={() => run(read(notice.id))} />
        ))}
      </ul>
      {notices.hasNextPage && (
        <Button isBusy={notices.isFetchingNextPage} onClick={() => void notices.fetchNextPage()}>
          {s.states.more}
        </Button>
      )}
    </>
  );
}

function Line({ notice, onRead }: { notice: Notice; onRead: () => void }) {
  const { s } = useLocale();
  const isUnread = notice.read_at === null;
  return (
    <li className={isUnread ? "unread" : ""}>
      <KindBadge kind={notice.kind} />
      <div>
        <p className="name">
          <Link href={notice.trip === "" ? "/admin/webhooks" : `/trips/${notice.trip}`} onClick={() => isUnread && onRead()}>
            {notice.title}
          </Link>
        </p>
        <p className="muted small">{notice.body}</p>
      </div>
      <span className="muted small">
        <When at={notice.raised_at} isRelative />
      </span>
      {isUnread ? <IconButton icon="check" label={`${s.alerts.markRead}: ${notice.title}`} onClick={onRead} /> : <span />}
    </li>
  );
}

export function KindBadge({ kind }: { kind: string }) {
  const { s } = useLocale();
  return <span className={`badge alert-${kind}`}>{s.alerts.kinds[kind] ?? s.alerts.otherKinds[kind] ?? kind}</span>;
}
