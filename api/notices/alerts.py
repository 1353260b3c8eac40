"""The log of alerts: what was raised, and what became of it on the way to each who was to be told."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from psycopg.rows import DictRow
from pydantic import BaseModel, Field

from api.access import Role, Scope
from api.fleet.given import refusal
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.http.times import Moment, Time, iso
from api.notices import forms, store
from api.notices.forms import DeliveryBody
from api.notices.given import Id, Ref, me
from api.notices.store import Wanted
from api.services import Given, Services
from notify.delivery import store as deliveries
from notify.errors import AlertNotFound
from notify.model import Kind

router = APIRouter(tags=["alerts"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.ALERTS_READ)]


class AlertSite(BaseModel):
    """Where it is about."""

    id: str
    name: str


class AlertBody(BaseModel):
    """Something people at a stop were to be told; there is one of each kind for a stop of a trip at most."""

    id: str
    kind: Kind
    trip: str
    stop: str
    site: AlertSite
    device: str
    at: Time = Field(description="By the device's clock: of the position that made it due")
    eta: Time | None = Field(description="The arrival that was told")
    raised_at: Time


class WholeAlertBody(AlertBody):
    """With its deliveries."""

    deliveries: list[DeliveryBody] = Field(description="A supplier sees those to himself")


@router.get("/v1/alerts", summary="List alerts")
async def list_alerts(
    caller: Reader,
    services: Given,
    site: Annotated[Ref | None, Query(description="Only of this site")] = None,
    trip: Annotated[Ref | None, Query(description="Only of this trip")] = None,
    kind: Annotated[Kind | None, Query(description="Only these")] = None,
    since: Annotated[Moment | None, Query(alias="from", description="Raised from then on")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Raised before then")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AlertBody]:
    """Newest first. A supplier sees those of his sites."""
    if since is not None and until is not None and since >= until:
        raise refusal("from", f"{iso(since)} is not before `to`, which is {iso(until)}")
    before: tuple[datetime, str] | None = decode(cursor, datetime, str)
    sites = await _sites(services, caller)
    if site is not None:
        sites = [site] if sites is None or site in sites else []
    wanted = Wanted(sites=sites, trip=trip, kind=kind and kind.value, since=since, until=until)
    async with services.app.tenant(caller.tenant) as tx:
        found = await store.alerts(tx, wanted, before=before, limit=limit + 1)
    return page(found, limit, key=lambda row: (row["raised_at"], row["alert_id"]), item=_alert)


@router.get("/v1/alerts/{alert}", summary="Show an alert with its deliveries")
async def show_alert(alert: Id, caller: Reader, services: Given) -> WholeAlertBody:
    is_name = alert.isascii() and alert.isprintable()
    sites = await _sites(services, caller)
    async with services.app.tenant(caller.tenant) as tx:
        row = await store.alert(tx, alert, sites) if is_name else None
        if row is None:
            raise AlertNotFound(f"there is no alert {alert[:80]!r}")
        sent = await deliveries.of_alert(tx, alert)
    if caller.principal.role is Role.SITE:
        mine = me(caller)
        sent = [each for each in sent if mine is not None and each.recipient == mine]
    return WholeAlertBody(**_facts(row), deliveries=[forms.delivery(each) for each in sent])


async def _sites(services: Services, caller: Caller) -> list[str] | None:
    """The sites whose alerts are the caller's; None: every site's."""
    if caller.principal.role is not Role.SITE:
        return None
    return sorted(await services.sites.ids(caller.tenant, caller.principal.sites))


def _alert(row: DictRow) -> AlertBody:
    return AlertBody(**_facts(row))


def _facts(row: DictRow) -> dict[str, Any]:
    return {
        "id": row["alert_id"],
        "kind": row["kind"],
        "trip": row["trip_id"],
        "stop": row["stop_id"],
        "site": AlertSite(id=row["site_id"], name=row["site_name"]),
        "device": row["device_id"],
        "at": row["at"],
        "eta": row["eta"],
        "raised_at": row["raised_at"],
    }
