"""What is expected of a trip now, for whoever asks."""

from dataclasses import dataclass
from datetime import datetime

from core.clock import Clock, from_epoch_ms
from core.db import Database
from core.tenancy import TenantId
from eta.live import store


@dataclass(frozen=True, slots=True)
class Expected:
    """When one stop is reached."""

    stop: str
    site: str
    eta: datetime
    p10: datetime
    p50: datetime
    p90: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """The newest estimate of a trip. `age_s` is that of the position behind it, now; metres along `source`'s road."""

    device: str
    made_at: datetime
    fix_at: datetime
    age_s: float
    lat: float
    lon: float
    method: str
    reason: str
    is_on_route: bool
    progress_m: float
    length_m: float
    source: str
    arrivals: tuple[Expected, ...]


class ArrivalService:
    """`database` is the milkrun_app login."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def arrivals(self, tenant: TenantId, trip: str) -> Arrivals | None:
        """What was said last of the trip with this id; None: nothing yet."""
        async with self._database.tenant(tenant) as tx:
            row = await store.newest(tx, trip)
        if row is None:
            return None
        return Arrivals(
            device=row["device_id"],
            made_at=row["made_at"],
            fix_at=row["fix_at"],
            age_s=max((self._clock() - row["fix_at"]).total_seconds(), 0.0),
            lat=row["lat"],
            lon=row["lon"],
            method=row["method"],
            reason=row["reason"],
            is_on_route=row["is_on_route"],
            progress_m=row["progress_m"],
            length_m=row["length_m"],
            source=row["source"],
            arrivals=tuple(
                Expected(
                    each["stop"], each["site"], *(from_epoch_ms(each[name]) for name in ("eta", "p10", "p50", "p90"))
                )
                for each in row["arrivals"]
            ),
        )
