"""A device's named signals: what there is, raw values, and buckets."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from api.access import Scope
from api.fleet.given import DevicePath, refusal, thing_in_sight
from api.fleet.tracks import From, To, span_of
from api.http.paging import Cursor, Page, decode, encode
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.http.times import Time
from api.services import Given
from ingest.history import export, series

router = APIRouter(tags=["telemetry"], route_class=StrictRoute)

LATELY_DAYS = 30
MOST_DAYS = 732
MOST_BUCKETS, DEFAULT_BUCKETS = 10_000, 500
_NAMED_S = {"1m": 60, "1h": 3600}

Reader = Annotated[Caller, needs(Scope.TELEMETRY_READ)]
Name = Annotated[
    str, Path(pattern=r"^[A-Za-z_][A-Za-z0-9_.:#-]{0,63}$", description="The signal's name, such as `fuel_pct`")
]


def _bucket(text: str) -> str:
    if text in {"raw", "auto", *_NAMED_S}:
        return text
    if text.isascii() and text.isdigit() and len(text) <= 8 and 1 <= int(text) <= 31_622_400:
        return text
    raise ValueError("a bucket is raw, auto, 1m, 1h, or a whole number of seconds from 1 to 31622400")


Width = Annotated[
    str,
    AfterValidator(_bucket),
    Query(
        description="`raw`: every value, text too. `1m`, `1h` or a number of seconds: numbers over that long, counted "
        "from 1970-01-01 UTC. `auto`: the narrowest usual width that needs at most `points` buckets"
    ),
    WithJsonSchema({"type": "string", "pattern": r"^(raw|auto|1m|1h|[1-9]\d{0,6}|[12]\d{7}|30\d{6})$"}),
]


class LastValue(BaseModel):
    """A signal and its last value: a number (flags are 0 and 1) or a text."""

    name: str = Field(examples=["fuel_pct"])
    ts: Time
    value: float | str = Field(examples=[61.5])


class RawValue(BaseModel):
    """One value as it was measured."""

    ts: Time
    value: float | str


class BucketBody(BaseModel):
    """The numbers measured from `ts` on, one bucket long. A bucket in which there were none is left out."""

    ts: Time
    avg: float
    min: float
    max: float
    last: float
    count: int


class MetricBody(BaseModel):
    """A signal over a span; of buckets, those that the span touches, whole."""

    device: str
    name: str
    since: Time = Field(alias="from")
    until: Time = Field(alias="to")
    bucket: int | None = Field(description="Seconds; null for raw values")
    items: list[BucketBody] | list[RawValue]
    next: str | None = Field(description="Raw values: cursor of the next page. null when this is the last")


@router.get("/v1/devices/{device}/metrics", summary="Last value of each metric")
async def list_metrics(device: DevicePath, caller: Reader, services: Given) -> Page[LastValue]:
    """Every signal measured in the last 30 days, by name."""
    thing = await thing_in_sight(services, caller, device)
    async with services.app.tenant(thing.tenant) as tx:
        await export.require_device(tx, thing.device)
        found = await series.last_values(tx, thing.device, services.clock() - timedelta(days=LATELY_DAYS))
    return Page(items=[LastValue(name=v.name, ts=v.ts, value=_value(v.value, v.text)) for v in found], next=None)


@router.get("/v1/devices/{device}/metrics/{name}", summary="A metric over time")
async def show_metric(
    device: DevicePath,
    name: Name,
    caller: Reader,
    services: Given,
    since: From = None,
    until: To = None,
    bucket: Width = "auto",
    points: Annotated[
        int, Query(ge=1, le=MOST_BUCKETS, description="For `auto`: how many buckets there may be")
    ] = DEFAULT_BUCKETS,
    limit: Annotated[int, Query(ge=1, le=MOST_BUCKETS, description="For `raw`: values a page holds at most")] = 1000,
    cursor: Cursor = None,
) -> MetricBody:
    """At most 732 days at once and 10,000 buckets. What was committed a moment ago is in it."""
    thing = await thing_in_sight(services, caller, device)
    span = span_of(services, thing.device, since, until, most_days=MOST_DAYS)
    after: tuple[datetime, str, int] | None = decode(cursor, datetime, str, int)
    if after is not None and bucket != "raw":
        raise refusal("cursor", "only raw values come in pages")
    width_s = None if bucket == "raw" else _NAMED_S.get(bucket) or (None if bucket == "auto" else int(bucket))
    if bucket == "auto":
        width_s = series.fitting_width_s(span, points)
    if width_s is not None and (count := series.count_of(span, width_s)) > MOST_BUCKETS:
        raise refusal("bucket", f"{count:,} buckets of {width_s} s: at most {MOST_BUCKETS:,} are answered at once")
    following = None
    items: list[BucketBody] | list[RawValue]
    async with services.app.tenant(thing.tenant) as tx:
        await export.require_device(tx, thing.device)
        if width_s is None:
            rows = await series.raw(tx, name, span, after=after, limit=limit + 1)
            items = [RawValue(ts=row.ts, value=_value(row.value, row.text)) for row in rows[:limit]]
            if len(rows) > limit:
                last = rows[limit - 1]
                following = encode(last.ts, last.boot, last.seq)
        else:
            span = series.whole(span, width_s)
            found = await series.buckets(tx, name, span, width_s)
            items = [BucketBody(ts=b.ts, avg=b.avg, min=b.min, max=b.max, last=b.last, count=b.count) for b in found]
    return MetricBody.model_construct(
        device=thing.device,
        name=name,
        since=span.since,
        until=span.until,
        bucket=width_s,
        items=items,
        next=following,
    )


def _value(number: float | None, text: str | None) -> float | str:
    if text is not None:
        return text
    assert number is not None
    return number
