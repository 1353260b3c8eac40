"""Alerts: each written once, with the news of it, whoever finds it due."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from prometheus_client import Counter

from core import outbox
from core.bus import Delivery
from core.clock import Clock, epoch_ms, from_epoch_ms
from core.db import Database, TenantTx
from core.events import AlertRaised, Event, StopChanged, TripChanged
from core.tenancy import tenant_id
from core.worker import Handler
from eta.live import store
from eta.live.store import Told
from eta.trips import store as trips
from eta.trips.model import StopState, Trip, TripState, TripStop

RAISED = Counter("milkrun_eta_alerts_total", "Alerts raised", ["kind"])

_ARRIVED_WITHIN = timedelta(minutes=5)
_OTHERS_WITHIN = timedelta(minutes=15)


def told(trip: Trip, stop: TripStop, kind: str, at: datetime, eta: datetime | None) -> Told:
    """The alert of this kind for this stop, whose name follows from what it is."""
    name = f"{trip.tenant} {trip.id} {stop.id} {kind}".encode()
    return Told(f"alert_{hashlib.blake2b(name, digest_size=11).hexdigest()}", stop.id, stop.site, kind, at, eta)


async def raise_(tx: TenantTx, trip: Trip, alerts: Sequence[Told], now: datetime) -> None:
    """Write those that are news, and announce them by the same transaction."""
    news = []
    for each in alerts:
        if not await store.add_alert(tx, trip, each, now):
            continue
        RAISED.labels(each.kind).inc()
        eta = None if each.eta is None else epoch_ms(each.eta)
        news.append(
            AlertRaised(
                tenant=trip.tenant,
                trip=trip.id,
                alert=each.alert,
                stop=each.stop,
                site=each.site,
                kind=each.kind,
                device=trip.device or "",
                at=epoch_ms(each.at),
                eta=eta,
            )
        )
    await outbox.add(tx, news)


class Announcer:
    """Alerts that follow from what became of a trip or a stop, whether positions said it or a person."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def handlers(self) -> Mapping[type[Event], Handler]:
        return {TripChanged: self._on_trip, StopChanged: self._on_stop}

    async def _on_trip(self, event: Event, _delivery: Delivery) -> None:
        """A trip has begun: everybody it is still to come to is told."""
        assert isinstance(event, TripChanged)
        now = self._clock()
        if event.state != TripState.UNDER_WAY or self._is_old(event.at, now, _OTHERS_WITHIN):
            return
        async with self._database.tenant(tenant_id(event.tenant)) as tx:
            trip = (await trips.load(tx, tx.tenant, [event.trip])).get(event.trip)
            if trip is None or trip.state is not TripState.UNDER_WAY:
                return
            said = await store.last_said(tx, trip.id)
            at = trip.started_at or now
            due = [told(trip, stop, "started", at, _eta(said, stop.id)) for stop in trip.ahead]
            await raise_(tx, trip, due, now)

    async def _on_stop(self, event: Event, _delivery: Delivery) -> None:
        """The truck is there; or it has gone past; or the trip is over and it never came."""
        assert isinstance(event, StopChanged)
        now = self._clock()
        is_arrival = event.state == StopState.ARRIVED
        if not is_arrival and event.state != StopState.SKIPPED:
            return
        if self._is_old(event.at, now, _ARRIVED_WITHIN if is_arrival else _OTHERS_WITHIN):
            return
        async with self._database.tenant(tenant_id(event.tenant)) as tx:
            trip = (await trips.load(tx, tx.tenant, [event.trip])).get(event.trip)
            stop = None if trip is None else next((each for each in trip.stops if each.id == event.stop), None)
            if trip is None or stop is None or (not is_arrival and stop.state is not StopState.SKIPPED):
                return
            kind = "arrived" if is_arrival else _kind_of_skip(trip, event)
            await raise_(tx, trip, [told(trip, stop, kind, from_epoch_ms(event.at), None)], now)

    @staticmethod
    def _is_old(at_ms: int, now: datetime, within: timedelta) -> bool:
        return now - from_epoch_ms(at_ms) > within


def _kind_of_skip(trip: Trip, event: StopChanged) -> str:
    """Left out on the way, or still to come when the trip ended."""
    return "missed" if trip.ended_at is not None and event.at >= epoch_ms(trip.ended_at) else "skipped"


def _eta(said: Mapping[str, int], stop: str) -> datetime | None:
    at_ms = said.get(stop)
    return None if at_ms is None else from_epoch_ms(at_ms)
