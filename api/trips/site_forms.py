"""Sites and routes as JSON: what is asked and what is answered."""

from collections.abc import Collection
from datetime import time
from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.fleet.forms import LabelMap
from api.fleet.given import DeviceName, Form
from api.http.numbers import WHOLE, Flag
from api.http.times import Time
from api.trips.given import (
    CODE,
    ClockTime,
    Code,
    Latitude,
    Longitude,
    Name,
    Note,
    Quantity,
    Reach,
    Reference,
    Seconds,
    Timezone,
)
from core.tenancy import DeviceId
from eta.sites.model import (
    MAX_AFTER_S,
    MAX_CORNERS,
    MAX_SHAPE,
    Contact,
    Route,
    RouteFacts,
    RouteStop,
    Site,
    SiteFacts,
    SiteKind,
    Weekday,
    Window,
)
from eta.trips.model import MAX_STOPS


class Point(Form):
    """Degrees, WGS 84."""

    lat: Latitude = Field(examples=[47.141])
    lon: Longitude = Field(examples=[9.5215])


class OpeningWindow(Form):
    """When trucks are taken, on the site's own clock; `24:00` is midnight at the end of a day."""

    days: Annotated[list[Weekday], Field(min_length=1, max_length=7)] = Field(examples=[["mon", "tue"]])
    from_: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(alias="from", examples=["05:30"])
    to: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")] = Field(examples=["09:00"])


class ContactForm(Form):
    """Whom to call."""

    name: Annotated[Name, Field(max_length=200)]
    email: Note = ""
    phone: Note = ""


class _SiteParts(Form):
    name: Name | None = Field(None, examples=["Bergerhof"])
    code: Code | None = Field(None, description=CODE, examples=["farm-7"])
    kind: SiteKind | None = None
    lat: Latitude | None = Field(None, examples=[47.141])
    lon: Longitude | None = Field(None, examples=[9.5215])
    radius_m: Reach | None = Field(None, description="The site's area is this circle, by default 50 m")
    polygon: Annotated[list[Point], Field(max_length=MAX_CORNERS)] | None = Field(
        None, description="The site's area by its corners, instead of the circle"
    )
    windows: Annotated[list[OpeningWindow], Field(max_length=21)] | None = None
    timezone: Timezone | None = Field(None, description="IANA name; default UTC", examples=["Europe/Zurich"])
    contacts: Annotated[list[ContactForm], Field(max_length=10)] | None = None
    labels: LabelMap | None = None

    def over(self, facts: dict[str, Any]) -> SiteFacts:
        """These over `facts`; what is left out or null stays, but for a code that is null: that goes."""
        said = {name: getattr(self, name) for name in self.model_fields_set & set(SiteFacts.__slots__)}
        given = {name: value for name, value in said.items() if value is not None or name == "code"}
        if "polygon" in given:
            given["polygon"] = tuple((corner.lat, corner.lon) for corner in given["polygon"])
        if "windows" in given:
            given["windows"] = tuple(Window(tuple(w.days), w.from_, w.to) for w in given["windows"])
        if "contacts" in given:
            given["contacts"] = tuple(Contact(each.name, each.email, each.phone) for each in given["contacts"])
        return SiteFacts(**{**facts, **given})


class NewSite(_SiteParts):
    """A place trucks go to."""

    name: Name = Field(examples=["Bergerhof"])
    lat: Latitude = Field(examples=[47.141])
    lon: Longitude = Field(examples=[9.5215])


class SiteChange(_SiteParts):
    """What is left out stays. Trips that are there keep the name and place the site had."""

    archived: Flag | None = Field(None, description="Out of use: not while a route in use stops there")


class SiteBody(BaseModel):
    """A place trucks go to."""

    id: str = Field(examples=["site_019fc5e2c140cc58b45b02"])
    code: str | None
    name: str
    kind: SiteKind
    lat: float
    lon: float
    radius_m: float
    polygon: list[Point]
    windows: list[OpeningWindow]
    timezone: str
    contacts: list[ContactForm]
    labels: dict[str, str]
    archived: bool
    version: int
    created_at: Time
    updated_at: Time


class RouteStopForm(Form):
    """One stop of a route. `site`: its id or code."""

    site: Reference = Field(examples=["farm-7"])
    after_s: Annotated[int, Field(ge=0, le=MAX_AFTER_S), WHOLE] | None = Field(
        None, description="Planned arrival, seconds after the start; without it: by the distances"
    )
    service_s: Seconds | None = Field(None, description="How long the truck stands there, as planned")
    quantity: Quantity | None = Field(None, description="What is expected there, in the unit you use")


class _RouteParts(Form):
    name: Name | None = Field(None, examples=["North"])
    code: Code | None = Field(None, description=CODE, examples=["north"])
    stops: Annotated[list[RouteStopForm], Field(min_length=1, max_length=MAX_STOPS)] | None = None
    weekdays: Annotated[list[Weekday], Field(max_length=7)] | None = Field(
        None, description="Days on which it makes a trip of its own accord"
    )
    starts_at: ClockTime | None = Field(None, description="On the clock of `timezone`", examples=["05:30"])
    timezone: Timezone | None = Field(None, description="IANA name; default UTC", examples=["Europe/Zurich"])
    device: DeviceName | None = Field(None, description="Who drives it unless a trip says otherwise")
    shape: Annotated[list[Point], Field(max_length=MAX_SHAPE)] | None = Field(
        None, description="Its road, where you know it"
    )

    def over(self, facts: dict[str, Any]) -> RouteFacts:
        """These over `facts`; null takes away code, start and device, and leaves all else."""
        said = {name: getattr(self, name) for name in self.model_fields_set & set(RouteFacts.__slots__)}
        removable = {"code", "starts_at", "device"}
        given = {name: value for name, value in said.items() if value is not None or name in removable}
        if given.get("stops"):
            given["stops"] = tuple(RouteStop(**dict(stop)) for stop in given["stops"])
        if "weekdays" in given:
            given["weekdays"] = tuple(given["weekdays"])
        if given.get("starts_at"):
            given["starts_at"] = time.fromisoformat(given["starts_at"])
        if given.get("device"):
            given["device"] = DeviceId(given["device"])
        if "shape" in given:
            given["shape"] = tuple((point.lat, point.lon) for point in given["shape"])
        return RouteFacts(**{**facts, **given})


class NewRoute(_RouteParts):
    """Stops in the order in which they are driven."""

    name: Name = Field(examples=["North"])
    stops: Annotated[list[RouteStopForm], Field(min_length=1, max_length=MAX_STOPS)]


class RouteChange(_RouteParts):
    """What is left out stays. Trips that are there keep the stops they were made with."""

    archived: Flag | None = Field(None, description="Out of use: it makes no more trips")


class RouteStopBody(BaseModel):
    """One stop of a route."""

    seq: int
    site: str
    after_s: int | None
    service_s: float | None
    quantity: float | None


class RouteBody(BaseModel):
    """Stops in the order in which they are driven, and when that is done of its own accord."""

    id: str = Field(examples=["route_019fc5e2c140cc58b45b02"])
    code: str | None
    name: str
    stops: list[RouteStopBody]
    weekdays: list[Weekday]
    starts_at: str | None
    timezone: str
    device: str | None
    shape: list[Point]
    archived: bool
    version: int
    created_at: Time
    updated_at: Time


def site(found: Site) -> SiteBody:
    facts = found.facts
    return SiteBody(
        id=found.id,
        code=facts.code,
        name=facts.name,
        kind=facts.kind,
        lat=facts.lat,
        lon=facts.lon,
        radius_m=facts.radius_m,
        polygon=points(facts.polygon),
        windows=[OpeningWindow(days=list(w.days), **{"from": w.opens}, to=w.closes) for w in facts.windows],
        timezone=facts.timezone,
        contacts=[ContactForm(name=each.name, email=each.email, phone=each.phone) for each in facts.contacts],
        labels=dict(facts.labels),
        archived=found.is_archived,
        version=found.version,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def route(found: Route) -> RouteBody:
    facts = found.facts
    return RouteBody(
        id=found.id,
        code=facts.code,
        name=facts.name,
        stops=[
            RouteStopBody(seq=n, site=s.site, after_s=s.after_s, service_s=s.service_s, quantity=s.quantity)
            for n, s in enumerate(facts.stops, 1)
        ],
        weekdays=list(facts.weekdays),
        starts_at=None if facts.starts_at is None else facts.starts_at.isoformat("minutes"),
        timezone=facts.timezone,
        device=facts.device,
        shape=points(facts.shape),
        archived=found.is_archived,
        version=found.version,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def points(line: Collection[tuple[float, float]]) -> list[Point]:
    return [Point.model_construct(lat=lat, lon=lon) for lat, lon in line]
