import { Link, useLocation } from "wouter";
import { useUnread } from "../api/notices";
import { useLocale } from "../strings";
import { Icon } from "../ui/Icon";

const MOST_SHOWN = 99;

/** The way to one's alerts, with how many are unread. */
export function Bell() {
  const { s } = useLocale();
  const unread = useUnread();
  const [location] = useLocation();
  return (
    <Link href="/alerts" className="bell" aria-label={s.alerts.bell(unread)} aria-current={location.startsWith("/alerts") ? "page" : undefined}>
      <Icon name="bell" size={18} />
      {unread > 0 && (
        <span className="bell-count" aria-hidden="true">
          {unread > MOST_SHOWN ? `${MOST_SHOWN}+` : unread}
        </span>
      )}
    </Link>
  );
}
