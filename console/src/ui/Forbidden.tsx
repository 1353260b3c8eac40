import { Link } from "wouter";
import { useLocale } from "../strings";
import { Empty } from "./states";

/** In place of a page that one's role does not have. */
export function Forbidden() {
  const { s } = useLocale();
  return (
    <Empty title={s.app.forbidden} icon="alert">
      <Link href="/" className="button primary">
        {s.app.backToMap}
      </Link>
    </Empty>
  );
}
