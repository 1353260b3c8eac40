"""Sites and routes, checked. Pure: each function gives the new one or says what is wrong with what was wanted.

What a person says of a site or route is its facts. Two of the same facts are equal, so that an import which says what
is there already changes nothing.
"""

import enum
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from core.tenancy import DeviceId, TenantId
from eta.trips.errors import InvalidRoute, InvalidSite
from eta.trips.model import MAX_STOPS

DEFAULT_RADIUS_M = 50.0
MAX_CORNERS = 500
MAX_SHAPE = 20_000
MAX_AFTER_S = 172_800
MAX_SERVICE_S = 86_400.0

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_IDENTIFIER = re.compile(r"(site|route|trip|stop)_[0-9a-z]{8,40}\Z")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d\Z|24:00\Z")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]*\Z")
_EARTH_M = 6_371_008.8


class SiteKind(enum.StrEnum):
    FARM = "farm"  # where milk is fetched
    DEPOT = "depot"  # where trucks live
    WAREHOUSE = "warehouse"  # where a round ends
    OTHER = "other"  # anything else a truck stops at


class Weekday(enum.StrEnum):
    """In the order of datetime.weekday()."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"

    @staticmethod
    def of(day: date) -> "Weekday":
        return tuple(Weekday)[day.weekday()]


@dataclass(frozen=True, slots=True)
class Window:
    """When a site takes trucks: from and to on its own clock, `HH:MM`, `24:00` for midnight at the end."""

    days: tuple[Weekday, ...]
    opens: str
    closes: str


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to call. Personal data: shown to whoever may read sites, and to nobody else."""

    name: str
    email: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """What people say of a site. Degrees, metres; `polygon` (latitude, longitude) of its corners, not closed."""

    name: str
    lat: float
    lon: float
    code: str | None = None
    kind: SiteKind = SiteKind.FARM
    radius_m: float = DEFAULT_RADIUS_M
    polygon: tuple[tuple[float, float], ...] = ()
    windows: tuple[Window, ...] = ()
    timezone: str = "UTC"
    contacts: tuple[Contact, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    tenant: TenantId
    id: str
    facts: SiteFacts
    created_at: datetime
    updated_at: datetime
    is_archived: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStop:
    """`site` is its id. `after_s`: planned arrival, seconds after the route's start; None: by the distances."""

    site: str
    after_s: int | None = None
    service_s: float | None = None
    quantity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFacts:
    """What people say of a route: where to stop in which order, and on which days it is driven of its own accord."""

    name: str
    stops: tuple[RouteStop, ...]
    code: str | None = None
    weekdays: tuple[Weekday, ...] = ()
    starts_at: time | None = None
    timezone: str = "UTC"
    device: DeviceId | None = None
    shape: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    tenant: TenantId
    id: str
    facts: RouteFacts
    created_at: datetime
    updated_at: datetime
    is_archived: bool = False
    version: int = 1


def is_code(text: str) -> bool:
    """Whether a tenant may call something so: 1 to 64 of A-Z a-z 0-9 _ . -, and not the form of one of our ids."""
    return bool(_CODE.match(text)) and not _IDENTIFIER.match(text)


def is_text(text: str, most: int) -> bool:
    """Of at most so many characters and without control characters, of which a terminal obeys some."""
    return len(text) <= most and bool(_TEXT.match(text))


def site_facts(wanted: SiteFacts) -> SiteFacts:
    """The facts as they are kept; with a polygon the circle is made to enclose it. Raises InvalidSite."""
    _check_site(wanted)
    if wanted.polygon:
        corners = wanted.polygon[:-1] if wanted.polygon[0] == wanted.polygon[-1] else wanted.polygon
        if not 3 <= len(corners) <= MAX_CORNERS:
            raise InvalidSite(f"a polygon has 3 to {MAX_CORNERS} corners, this one has {len(corners)}")
        if not all(_is_place(*corner) for corner in corners):
            raise InvalidSite("a corner of the polygon is no place on earth: latitude -90 to 90, longitude -180 to 180")
        reach = max(distance_m((wanted.lat, wanted.lon), corner) for corner in corners)
        wanted = replace(wanted, polygon=corners, radius_m=round(max(5.0, reach), 1))
    if not 5.0 <= wanted.radius_m <= 5000.0:
        raise InvalidSite(f"a site reaches 5 to 5000 m around its place, not {wanted.radius_m:g} m")
    return replace(wanted, labels=dict(wanted.labels))


def _check_site(wanted: SiteFacts) -> None:
    if not is_text(wanted.name, 200) or not wanted.name:
        raise InvalidSite("a site's name has 1 to 200 characters, none of them a control character")
    if wanted.code is not None and not is_code(wanted.code):
        raise InvalidSite(f"code {wanted.code[:80]!r} is not allowed: use 1 to 64 characters of A-Z, a-z, 0-9, '_.-'")
    if not _is_place(wanted.lat, wanted.lon):
        raise InvalidSite(f"{wanted.lat}, {wanted.lon} is no place: latitude is -90 to 90, longitude -180 to 180")
    if not is_timezone(wanted.timezone):
        raise InvalidSite(f"{wanted.timezone[:80]!r} is no time zone: use an IANA name such as Europe/Zurich")
    for window in wanted.windows:
        _check_window(window)
    for contact in wanted.contacts:
        if not all(is_text(part, 254) for part in (contact.name, contact.email, contact.phone)) or not contact.name:
            raise InvalidSite("a contact has a name; name, e-mail and phone are text of up to 254 characters")
    _check_labels(wanted.labels)
    for what, found, most in (
        ("windows", len(wanted.windows), 21),
        ("contacts", len(wanted.contacts), 10),
        ("labels", len(wanted.labels), 32),
    ):
        if found > most:
            raise InvalidSite(f"{found} {what}: a site has at most {most}")


def _check_labels(labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if not _LABEL.match(key):
            raise InvalidSite(f"label {key[:80]!r} is not allowed: use 1 to 64 characters of A-Z, a-z, 0-9, '_.-'")
        if not is_text(value, 256) or not value:
            raise InvalidSite(f"label {key} has a value that is not 1 to 256 characters of text")


def _check_window(window: Window) -> None:
    if not (_CLOCK.match(window.opens) and _CLOCK.match(window.closes) and window.opens < window.closes):
        raise InvalidSite(
            f"a window goes from one time to a later one of the same day, such as 05:30 to 09:00, "
            f"not from {window.opens[:10]!r} to {window.closes[:10]!r}"
        )
    if not window.days or len(set(window.days)) != len(window.days):
        raise InvalidSite("a window names each of its days once, and at least one")


def route_facts(wanted: RouteFacts) -> RouteFacts:
    """The facts as they are kept. That its sites and device are there is for others to say. Raises InvalidRoute."""
    if not is_text(wanted.name, 200) or not wanted.name:
        raise InvalidRoute("a route's name has 1 to 200 characters, none of them a control character")
    if wanted.code is not None and not is_code(wanted.code):
        raise InvalidRoute(f"code {wanted.code[:80]!r} is not allowed: use 1 to 64 characters of A-Z, a-z, 0-9, '_.-'")
    if not is_timezone(wanted.timezone):
        raise InvalidRoute(f"{wanted.timezone[:80]!r} is no time zone: use an IANA name such as Europe/Zurich")
    if not 1 <= len(wanted.stops) <= MAX_STOPS:
        raise InvalidRoute(f"{len(wanted.stops)} stops: a route has 1 to {MAX_STOPS}")
    if wanted.weekdays and wanted.starts_at is None:
        raise InvalidRoute("a route that is driven on weekdays needs the time at which it starts")
    if wanted.shape and not 2 <= len(wanted.shape) <= MAX_SHAPE:
        raise InvalidRoute(f"a shape has 2 to {MAX_SHAPE} points, this one has {len(wanted.shape)}")
    if not all(_is_place(*point) for point in wanted.shape):
        raise InvalidRoute("a point of the shape is no place on earth: latitude -90 to 90, longitude -180 to 180")
    _check_stops(wanted.stops)
    days = tuple(day for day in Weekday if day in wanted.weekdays)
    return replace(wanted, weekdays=days)


def _check_stops(stops: Sequence[RouteStop]) -> None:
    before = 0
    for number, stop in enumerate(stops, 1):
        if stop.after_s is not None:
            if not before <= stop.after_s <= MAX_AFTER_S:
                raise InvalidRoute(
                    f"stop {number} is reached {stop.after_s} s after the start: it has to be {before} to {MAX_AFTER_S}"
                )
            before = stop.after_s
        if stop.service_s is not None and not 0.0 <= stop.service_s <= MAX_SERVICE_S:
            raise InvalidRoute(f"stop {number} takes {stop.service_s} s: it has to be 0 to {MAX_SERVICE_S:g}")
        if stop.quantity is not None and not (math.isfinite(stop.quantity) and stop.quantity >= 0.0):
            raise InvalidRoute(f"stop {number} has the quantity {stop.quantity}: it has to be 0 or more")


def changed_site(before: Site, facts: SiteFacts, *, is_archived: bool, at: datetime) -> Site:
    """`before` with other facts, one version on if anything differs. Raises InvalidSite."""
    after = replace(before, facts=site_facts(facts), is_archived=is_archived)
    return before if after == before else replace(after, version=before.version + 1, updated_at=at)


def changed_route(before: Route, facts: RouteFacts, *, is_archived: bool, at: datetime) -> Route:
    """`before` with other facts, one version on if anything differs. Raises InvalidRoute."""
    after = replace(before, facts=route_facts(facts), is_archived=is_archived)
    return before if after == before else replace(after, version=before.version + 1, updated_at=at)


def distance_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Over the ground, between two (latitude, longitude) in degrees."""
    lat1, lat2 = math.radians(one[0]), math.radians(other[0])
    dlat, dlon = lat2 - lat1, math.radians(other[1] - one[1])
    h = math.sin(dlat / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(dlon / 2) ** 2
    return 2.0 * _EARTH_M * math.asin(min(1.0, math.sqrt(h)))


def is_timezone(name: str) -> bool:
    return name in _timezones()


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def zone(name: str) -> ZoneInfo:
    """The zone of a checked name."""
    return ZoneInfo(name)


def _is_place(lat: float, lon: float) -> bool:
    # Written so that NaN, which compares false with everything, is none.
    return -90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0
