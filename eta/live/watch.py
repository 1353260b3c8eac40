"""Which trips there are to follow now: a list of all tenants' open trips, kept true by looking at what changed."""

from datetime import datetime, timedelta

import msgspec

from core import events
from core.clock import Clock
from core.db import Database
from core.settings import EtaSettings
from eta.live import store
from eta.live.store import Open
from eta.trips.model import OVER, TripState

_OVERLAP = timedelta(seconds=30)  # clocks of other processes, and transactions that were slow to commit
_WHOLE_EVERY = timedelta(minutes=5)


class Watch:
    """Open trips by thing. `look` raises DatabaseUnavailable."""

    def __init__(self, database: Database, settings: EtaSettings, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._by_trip: dict[tuple[str, str], Open] = {}
        self._by_thing: dict[str, dict[str, Open]] = {}
        self._looked_at: datetime | None = None
        self._whole_at: datetime | None = None

    async def look(self) -> None:
        """Take in what changed since the last look; everything, now and then."""
        now = self._clock()
        is_whole = self._whole_at is None or now - self._whole_at > _WHOLE_EVERY
        async with self._database.unscoped(reason="trips of every tenant are followed") as tx:
            if self._looked_at is None or is_whole:
                late, lead = timedelta(hours=self._settings.late_h), timedelta(seconds=self._settings.lead_s)
                found = await store.open_trips(tx, now - late, now + lead + 2 * _WHOLE_EVERY)
                self._by_trip.clear()
                self._by_thing.clear()
                self._whole_at = now
            else:
                found = await store.changed_trips(tx, self._looked_at - _OVERLAP)
        self._looked_at = now
        for each in found:
            self.note(each)

    def note(self, found: Open) -> None:
        """One trip is so now, unless a newer word of it was here before."""
        key = found.tenant, found.trip
        known = self._by_trip.get(key)
        if known is not None and known.version > found.version:
            return
        if known is not None and known.device is not None:
            things = self._by_thing.get(f"{known.tenant}:{known.device}", {})
            things.pop(found.trip, None)
            if not things:
                self._by_thing.pop(f"{known.tenant}:{known.device}", None)
        self._by_trip.pop(key, None)
        if found.state in OVER:
            return
        self._by_trip[key] = found
        if found.device is not None:
            self._by_thing.setdefault(f"{found.tenant}:{found.device}", {})[found.trip] = found

    def concerns(self, body: bytes) -> bool:
        """Whether any device of a TelemetryReceived is on a trip: reading all of them would cost more than the rest."""
        now = self._clock()
        try:
            heard = events.things(body)
        except msgspec.DecodeError:
            return True  # no event of ours: to be kept as a dead letter
        return any(self.trip_of(thing, now) is not None for thing in heard)

    def trip_of(self, thing: str, now: datetime) -> Open | None:
        """What the device drives now, or is to drive next."""
        trips = self._by_thing.get(thing)
        if not trips:
            return None
        late, lead = timedelta(hours=self._settings.late_h), timedelta(seconds=self._settings.lead_s)
        waiting: list[tuple[datetime, str]] = []
        for each in trips.values():
            if each.state == TripState.UNDER_WAY:
                return each
            start = each.planned_start
            if start is not None and start - lead <= now <= start + late:
                waiting.append((start, each.trip))
        return trips[min(waiting)[1]] if waiting else None
