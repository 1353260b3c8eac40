"""What routes are given: built once by `api.process`, found in `request.app.state.services`."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from api.http.limits import Limits
from api.http.security import Authenticator
from api.http.sharing import Answers
from api.http.store import RequestStore
from api.live.service import Live
from api.sites import SiteView
from commands.service import CommandService
from core.bus import Bus
from core.clock import Clock
from core.db import Database
from core.settings import Settings
from eta.accuracy.service import AccuracyService
from eta.live.service import ArrivalService
from eta.routing.cost.report import MapsService
from eta.sites.imports import ImportService
from eta.sites.service import SiteService
from eta.trips.service import TripService
from notify.service import NotifyService
from notify.tracking.service import LinkService
from notify.webhooks.service import WebhookService
from provisioning.service import ProvisioningService
from shadow.service import Shadows


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`app` is the tenants' door; `operator` serves sign-in and tenants themselves; `ingest` replays dead letters."""

    settings: Settings
    app: Database
    operator: Database
    ingest: Database
    bus: Bus
    provisioning: ProvisioningService
    identity: Authenticator
    limits: Limits
    requests: RequestStore
    live: Live
    shadows: Shadows
    notices: NotifyService
    webhooks: WebhookService
    links: LinkService
    commands: CommandService
    clock: Clock
    places: SiteService
    imports: ImportService
    trips: TripService
    arrivals: ArrivalService
    accuracy: AccuracyService
    maps: MapsService
    sites: SiteView
    answers: Answers = field(default_factory=Answers)


async def _services(request: Request) -> Services:  # async: else each request would wait for a thread
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


Given = Annotated[Services, Depends(_services)]
"""In a route: `services: Given`."""
