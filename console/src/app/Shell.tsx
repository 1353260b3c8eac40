import { lazy, Suspense } from "react";
import { Link, Route, Switch } from "wouter";
import { useLocale } from "../strings";
import { Empty, Loading } from "../ui/states";
import { LivePage } from "../fleet/LivePage";
import { ErrorBoundary } from "./ErrorBoundary";
import { TopBar } from "./TopBar";

const DevicePage = lazy(() => import("../device/DevicePage"));
const DeadLettersPage = lazy(() => import("../device/DeadLettersPage"));
const EventsPage = lazy(() => import("../device/EventsPage"));
const TripsPage = lazy(() => import("../trips/TripsPage"));
const TripPage = lazy(() => import("../trips/TripPage"));
const RoutesPage = lazy(() => import("../routes/RoutesPage"));
const RoutePage = lazy(() => import("../routes/RoutePage"));
const SitesPage = lazy(() => import("../sites/SitesPage"));
const SitePage = lazy(() => import("../sites/SitePage"));
const CommandsPage = lazy(() => import("../control/CommandsPage"));
const AlertsPage = lazy(() => import("../alerts/AlertsPage"));
const AccuracyPage = lazy(() => import("../accuracy/AccuracyPage"));
const MapsPage = lazy(() => import("../accuracy/MapsPage"));
const AccountPage = lazy(() => import("./AccountPage"));
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
              <Route path="/trips" component={TripsPage} />
              <Route path="/trips/:trip">{({ trip }) => <TripPage key={trip} trip={decodeURIComponent(trip)} />}</Route>
              <Route path="/routes" component={RoutesPage} />
              <Route path="/routes/:route">{({ route }) => <RoutePage key={route} route={decodeURIComponent(route)} />}</Route>
              <Route path="/accuracy" component={AccuracyPage} />
              <Route path="/maps" component={MapsPage} />
              <Route path="/sites" component={SitesPage} />
              <Route path="/sites/:site">{({ site }) => <SitePage key={site} site={decodeURIComponent(site)} />}</Route>
              <Route path="/commands/:tab?">{({ tab }) => <CommandsPage tab={tab} />}</Route>
              <Route path="/alerts/:tab?">{({ tab }) => <AlertsPage tab={tab} />}</Route>
              <Route path="/events" component={EventsPage} />
              <Route path="/account" component={AccountPage} />
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
