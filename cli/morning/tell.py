"""What the platform says of a demonstration's trips: their next stop, when it is reached, and whom it warned."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import DictRow
from rich.console import Console

from api.notices import store as notices
from cli.morning.plan import Morning
from cli.output import print_table
from core.clock import from_epoch_ms, utc_now
from core.db import Database
from core.tenancy import TenantId
from eta.trips.model import StopState, Trip
from eta.trips.service import TripService
from eta.trips.store import Estimate, Wanted

_SHOWN = 12
_SHOWN_ALERTS = 12
_ARRIVALS = ("truck", "trip", "served", "next stop", "planned", "expected", "between", "rests on")


async def tell(console: Console, database: Database, tenant: TenantId, morning: Morning) -> None:
    """Two tables: where each trip stands, and the newest alerts."""
    service = TripService(database=database, clock=utc_now)
    wanted = Wanted(only=morning.trips)
    trips = await service.trips(tenant, wanted, limit=max(1, len(morning.trips)))
    estimates = await service.estimates(tenant, [trip.id for trip in trips])
    raised: list[DictRow] = []
    async with database.tenant(tenant) as tx:
        for trip in trips:
            raised += await notices.alerts(tx, notices.Wanted(trip=trip.id), before=None, limit=1000)
    _arrivals(console, trips, estimates)
    _alerts(console, trips, sorted(raised, key=lambda row: row["raised_at"]))


def _arrivals(console: Console, trips: Sequence[Trip], estimates: dict[str, Estimate]) -> None:
    console.print("\n[bold]What those who wait are told[/bold] (UTC)")
    rows: list[tuple[str, ...]] = []
    for trip in trips[:_SHOWN]:
        served = sum(stop.state is StopState.SERVED for stop in trip.stops)
        head = (trip.device or "", trip.state.value.replace("_", " "), f"{served}/{len(trip.stops)}")
        coming = trip.ahead[0] if trip.ahead else None
        if coming is None:
            rows.append(_wide(*head))
            continue
        said = estimates.get(trip.id)
        arrival = said.arrivals.get(coming.id) if said else None
        if said is None or arrival is None:
            rows.append(_wide(*head, coming.name, _clock(coming.planned_at), "not yet"))
            continue
        between = f"{_clock(from_epoch_ms(arrival['p10']))} - {_clock(from_epoch_ms(arrival['p90']))}"
        expected = _clock(from_epoch_ms(arrival["eta"]))
        rows.append((*head, coming.name, _clock(coming.planned_at), expected, between, said.method))
    if len(trips) > _SHOWN:
        rows.append(_wide(f"and {len(trips) - _SHOWN} more"))
    print_table(_ARRIVALS, rows)


def _wide(*cells: str) -> tuple[str, ...]:
    return (*cells, *[""] * (len(_ARRIVALS) - len(cells)))


def _alerts(console: Console, trips: Sequence[Trip], raised: Sequence[DictRow]) -> None:
    kinds = Counter(row["kind"] for row in raised)
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none was due yet"
    console.print(f"\n[bold]Alerts[/bold]  {counts}")
    if not raised:
        return
    names = {stop.id: stop.name for trip in trips for stop in trip.stops}
    rows = [
        (_clock(row["at"]), row["kind"], names.get(row["stop_id"], ""), row["device_id"], _clock(row["eta"]))
        for row in raised[-_SHOWN_ALERTS:]
    ]
    print_table(("at", "kind", "where", "truck", "arrival told"), rows)


def _clock(at: datetime | None) -> str:
    return at.strftime("%H:%M:%S") if at else ""
