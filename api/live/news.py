"""What is told on the channels beside positions: which event of the bus becomes which event of which channel."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from core.channels import Channel
from core.events import (
    AlertRaised,
    ArrivalsEstimated,
    CommandChanged,
    Event,
    NoticePosted,
    StopChanged,
    TripChanged,
    TripEvent,
)
from core.tenancy import TenantId, Thing


class Told(NamedTuple):
    """One event of a channel. What is about a device or a site says so by `device` and `site`: rights go by them."""

    channel: Channel
    type: str
    data: Mapping[str, object]


def trip_channel(event: TripEvent) -> Channel:
    return Channel(TenantId(event.tenant), f"trip:{event.trip}")


def arrivals(event: ArrivalsEstimated) -> Told:
    data = {
        "trip": event.trip,
        "device": event.device,
        "made_at": event.made_at,
        "method": event.method,
        "reason": event.reason,
        "age_s": round(event.age_s, 1),
        "on_route": event.is_on_route,
        "progress_m": round(event.progress_m),
        "arrivals": [
            {"stop": a.stop, "site": a.site, "eta": a.eta, "p10": a.p10, "p50": a.p50, "p90": a.p90}
            for a in event.arrivals
        ],
    }
    return Told(trip_channel(event), "arrivals", data)


def _trip(event: TripChanged) -> Told:
    data = {"trip": event.trip, "device": event.device, "state": event.state, "at": event.at}
    return Told(trip_channel(event), "trip", data)


def _stop(event: StopChanged) -> Told:
    data = {"trip": event.trip, "stop": event.stop, "site": event.site, "state": event.state, "at": event.at}
    return Told(trip_channel(event), "stop", data)


def _alert(event: AlertRaised) -> Told:
    data = {
        "alert": event.alert,
        "trip": event.trip,
        "stop": event.stop,
        "site": event.site,
        "device": event.device,
        "kind": event.kind,
        "at": event.at,
        "eta": event.eta,
    }
    return Told(Channel(TenantId(event.tenant), "alerts"), "alert", data)


def _notice(event: NoticePosted) -> Told:
    data = {
        "notice": event.notice,
        "recipient": event.recipient,
        "kind": event.kind,
        "title": event.title,
        "body": event.body,
        "trip": event.trip,
        "stop": event.stop,
        "site": event.site,
    }
    return Told(Channel(TenantId(event.tenant), "notices"), "notice", data)


def _command(event: CommandChanged) -> Told:
    thing = Thing.parse(event.thing)
    data = {
        "device": thing.device,
        "execution": event.execution,
        "command": event.command,
        "state": event.state,
        "version": event.version,
        "at": event.at,
        "detail": event.detail,
    }
    return Told(Channel(thing.tenant, "commands"), "command", data)


TELLERS: Mapping[type[Event], Callable[[Any], Told]] = {
    TripChanged: _trip,
    StopChanged: _stop,
    AlertRaised: _alert,
    NoticePosted: _notice,
    CommandChanged: _command,
}
