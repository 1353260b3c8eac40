"""The day's work of the town's trucks, put in through REST: farms as sites, a route and a trip of today for each."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from cli.sim import plan_in
from sim.truck import Truck

_AHEAD_S = 4 * 3600.0
_LATE = timedelta(hours=2)


@dataclass(frozen=True)
class Day:
    """What was put in. Ids by what they are of: `sites` by the farm's own, `routes` and `trips` by the truck's."""

    sites: dict[str, str]
    routes: dict[str, str]
    trips: dict[str, str]
    late: str
    """the truck whose trip is planned two hours sooner than it drives: more than any pause that nobody told of"""

    @property
    def trucks(self) -> list[str]:
        return list(self.trips)


def plan_day(rest: httpx.Client, data: Path, trucks: int) -> Day:
    """Every trip has the next farms in front of its truck, in the order in which it comes to them, and is under way."""
    now = datetime.now(UTC)
    planned = [truck.as_of(int(now.timestamp() * 1000)) for truck in plan_in(data, trucks)]
    sites: dict[str, str] = {}
    for truck in planned:
        for stop in truck.round.stops:
            if stop.id not in sites:
                sites[stop.id] = _made(rest, "/v1/sites", _site(stop))
    late = planned[0].id
    routes, trips = {}, {}
    for truck in planned:
        visits = _ahead(truck)
        stops = [{"site": sites[stop], "after_s": round(arrive_s), "service_s": 300} for stop, arrive_s in visits]
        route = {"code": f"R-{truck.id}", "name": f"Round of {truck.id}", "stops": stops, "timezone": "UTC"}
        routes[truck.id] = _made(rest, "/v1/routes", route)
        shift = -_LATE if truck.id == late else timedelta()
        trip = {
            "route": routes[truck.id],
            "device": truck.id,
            "code": f"T-{truck.id}",
            "day": f"{now:%Y-%m-%d}",
            "planned_start": (now + shift).isoformat(),
            "stops": [
                {
                    "site": sites[stop],
                    "planned_at": (now + shift + timedelta(seconds=arrive_s)).isoformat(),
                    "service_s": 300,
                }
                for stop, arrive_s in visits
            ],
        }
        trips[truck.id] = _made(rest, "/v1/trips", trip)
        rest.post(f"/v1/trips/{trips[truck.id]}/start").raise_for_status()
    return Day(sites, routes, trips, late)


def plan_trip(rest: httpx.Client, day: Day, date: str) -> str:
    """Another trip of the first truck's route, on a day of the test's own, with nobody assigned to it."""
    trip = _made(
        rest, "/v1/trips", {"route": day.routes[day.trucks[0]], "day": date, "planned_start": f"{date}T06:00:00Z"}
    )
    if state_of(rest, trip)["device"] is not None:
        rest.post(f"/v1/trips/{trip}/assign", json={"device": None}).raise_for_status()
    return trip


def state_of(rest: httpx.Client, trip: str) -> dict[str, Any]:
    found: dict[str, Any] = rest.get(f"/v1/trips/{trip}").raise_for_status().json()
    return found


def _site(stop: Any) -> dict[str, Any]:
    return {
        "code": stop.id,
        "name": stop.name,
        "kind": "farm",
        "lat": stop.lat,
        "lon": stop.lon,
        "radius_m": 60,
        "timezone": "Europe/Berlin",
        "windows": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat"], "from": "04:00", "to": "22:00"}],
        "contacts": [{"name": "Anna Huber", "email": "anna@farm.example", "phone": "+49 8331 1234"}],
    }


def _ahead(truck: Truck) -> list[tuple[str, float]]:
    """The next farms and the seconds until the truck is there: half a lap, so that it does not end where it begins."""
    ahead = [(visit.stop.id, visit.arrive_s) for visit in truck.visits(_AHEAD_S) if visit.arrive_s > 0]
    return ahead[: len(truck.round.stops) // 2]


def _made(rest: httpx.Client, path: str, body: dict[str, Any]) -> str:
    answer = rest.post(path, json=body)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made
