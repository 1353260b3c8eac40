"""When a device was connected, when it was not, and why."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.access import Scope
from api.fleet.forms import Presence
from api.fleet.given import DevicePath, thing_in_sight
from api.fleet.tracks import MOST_DAYS, From, To, span_of
from api.http.paging import Cursor, decode, encode
from api.http.security import Caller, DeviceNotFound, needs
from api.http.strict import StrictRoute
from api.http.times import Time
from api.services import Given
from broker import store as kept
from broker.presence import timeline
from broker.presence.timeline import Span, in_words

router = APIRouter(tags=["devices"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.TELEMETRY_READ)]
Limit = Annotated[int, Query(ge=2, le=1000, description="Spans a page holds at most")]
_DEFAULT_LIMIT = 500


class PresenceNow(Presence):
    """Whether the device is connected to the broker."""

    disconnect_words: str | None = Field(description="The reason in words; null while it is connected")


class PresenceSpan(BaseModel):
    """A stretch of time in one state. The first of a list began where it began, before `from` too."""

    online: bool
    since: Time = Field(alias="from")
    until: Time | None = Field(alias="to", description="null: it lasts")
    reason: str | None = Field(
        description="AWS IoT's word for why the connection ended; null while online", examples=["CONNECTION_LOST"]
    )
    words: str | None = Field(description="The reason in words", examples=["the device signed off"])


class PresenceTimeline(BaseModel):
    """Oldest first, without gaps. What was before the first span is not known, or is no longer kept."""

    device: str = Field(examples=["truck-17"])
    since: Time = Field(alias="from")
    until: Time = Field(alias="to")
    now: PresenceNow
    items: list[PresenceSpan]
    next: str | None = Field(description="Cursor of the next page; null when this is the last")


@router.get("/v1/devices/{device}/presence", summary="A device's presence over time")
async def show_presence(
    device: DevicePath,
    caller: Reader,
    services: Given,
    since: From = None,
    until: To = None,
    limit: Limit = _DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> PresenceTimeline:
    """At most 31 days at once. A device that is back within the grace was never offline."""
    thing = await thing_in_sight(services, caller, device)
    span = span_of(services, thing.device, since, until, most_days=MOST_DAYS)
    (after,) = decode(cursor, int) or (0,)
    async with services.app.tenant(thing.tenant) as tx:
        now = await kept.now(tx, thing.device)
        if now is None:
            raise DeviceNotFound(f"there is no device {thing}")
        turns = await kept.turns(tx, thing.device, since=span.since, after=after, limit=limit + 1)
    found = [each for each in timeline.spans(turns) if each.since < span.until]
    has_more = len(turns) > limit and len(found) > 1 and found[-1].until is None
    return PresenceTimeline.model_validate(
        {
            "device": thing.device,
            "from": span.since,
            "to": span.until,
            "now": {**now, "disconnect_words": in_words(now["disconnect_reason"])},
            # When the last one ends is not read yet: it is the first of the next page.
            "items": [_body(each) for each in (found[:-1] if has_more else found)],
            "next": encode(found[-1].version - 1) if has_more else None,
        }
    )


def _body(span: Span) -> dict[str, bool | datetime | str | None]:
    return {
        "online": span.online,
        "from": span.since,
        "to": span.until,
        "reason": span.reason,
        "words": in_words(span.reason),
    }
