import { lazy, Suspense } from "react";
import { Link, Route, Switch } from "wouter";
import { useLocale } from "../strings";
import { Empty, Loading } from "../ui/states";
import { LivePage } from "../fleet/LivePage";
import { ErrorBoundary } from "./ErrorBoundary";
import { TopBar } from "./TopBar";

const DevicePage = lazy(() => import("../device/DevicePage"));
const DeadLettersPage = lazy(() => import("../device/DeadLettersPage"));
const AdminPage = lazy(() => import("../admin/AdminPage"));

export function Shell() {
  const { s } = useLocale();
  return (
    <div className="shell">
      <a className="skip" href="#content">
        {s.app.skip}
      </a>
      <TopBar />
      <main id="content" className="content" tabIndex={-1}>
        <ErrorBoundary>
          <Suspense fallback={<Loading />}>
            <Switch>
              <Route path="/" component={LivePage} />
              <Route path="/devices/:device">{({ device }) => <DevicePage key={device} device={decodeURIComponent(device)} />}</Route>
              <Route path="/dead-letters" component={DeadLettersPage} />
              <Route path="/admin/:page?">{({ page }) => <AdminPage page={page} />}</Route>
              <Route>
                <Empty title={s.app.notFound} hint={s.app.notFoundHint}>
                  <Link href="/" className="button primary">
                    {s.app.backToMap}
                  </Link>
                </Empty>
              </Route>
            </Switch>
          </Suspense>
        </ErrorBoundary>
      </main>
    </div>
  );
}
