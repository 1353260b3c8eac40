"""A small fleet that has something of everything, in the database and as naive.Device; a foreign one beside it."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.search.store import clause
from api.search.terms import Term
from core.clock import utc_now
from core.db import Database
from core.settings import ShadowSettings
from core.tenancy import Thing
from shadow.service import ShadowService
from tests.api.fleet.conftest import Fleet, fleet
from tests.api.search.naive import Device
from tests.api.search.terms_made import NOW, NUMBERS, PLACES, TEXTS
from tests.conftest import DatabaseUrls

__all__ = ["Fleet", "fleet"]

_MINUTE = timedelta(minutes=1)


def devices() -> list[Device]:
    """Twelve; each value of the terms that are made stands somewhere, and some devices lack each thing."""
    made = []
    for n in range(12):
        device = Device(f"t{n}", type=("tracker", "van")[n % 2], status=("active", "suspended", "pending")[n % 3])
        device.labels = [{}, {"depot": "north"}, {"depot": "south", "a.b": "%"}, {"a.b": TEXTS[n]}][n % 4]
        device.labels = {key: value for key, value in device.labels.items() if value}
        if n % 4:
            device.online, device.since = n % 2 == 0, NOW - n * 7 * _MINUTE
        if n % 5:
            device.last_seen = NOW - n * 5 * _MINUTE
        if n % 5 and n % 6:
            device.at, device.speed = NOW - n * 6 * _MINUTE, [None, 0.0, 13.5][n % 3]
            device.lat, device.lon = PLACES[n % len(PLACES)]
        device.shadows = _shadows(n)
        made.append(device)
    return made


def _shadows(n: int) -> dict[str, tuple[dict[str, object], dict[str, object]]]:
    texts, numbers = TEXTS, NUMBERS
    several: dict[str, object] = {"a": [texts[n], numbers[n % 6], [True, {"b": texts[-n]}], {}], "b": []}
    kinds: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"a": texts[n], "b": numbers[n % 6]}, {"a": texts[n - 1], "b": numbers[n % 6]}),
        ({"a": {"b": texts[n], "x y": {"é": n % 2 == 0}}}, {"a": {"b": texts[n]}}),
        ({}, several),
        ({"b": {"a": {}}}, {"b": {"a": {}}, "x y": n % 3 == 0, "é": numbers[n % 6]}),
        ({"a": 1, "b": 10**400}, {"a": 1.0, "b": "x" * 300}),
    ]
    shadows = {"": kinds[n % 5]} if n % 6 != 5 else {}
    if n % 3 == 0:
        shadows["milk"] = kinds[(n + 1) % 5]
    return shadows


def store(urls: DatabaseUrls, tenant: str, fleet: list[Device]) -> None:
    with psycopg.connect(urls.operator) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES (%s, %s)", (tenant, tenant))
        for each in fleet:
            conn.execute(
                "INSERT INTO device (tenant_id, device_id, type, status, labels) VALUES (%s, %s, %s, %s, %s)",
                (tenant, each.id, each.type, each.status, Jsonb(each.labels)),
            )
            if each.since is not None:
                conn.execute(
                    "INSERT INTO presence (tenant_id, device_id, online, since, session, version)"
                    " VALUES (%s, %s, %s, %s, 's', 1)",
                    (tenant, each.id, each.online, each.since),
                )
            if each.last_seen is not None:
                conn.execute(
                    "INSERT INTO device_state (tenant_id, device_id, last_seen_at, ts, lat, lon, speed, ledger)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, '')",
                    (tenant, each.id, each.last_seen, each.at, each.lat, each.lon, each.speed),
                )
    asyncio.run(_write_shadows(urls, tenant, fleet))


async def _write_shadows(urls: DatabaseUrls, tenant: str, fleet: list[Device]) -> None:
    async with Database(urls.app, pool_size=1) as app:
        service = ShadowService(database=app, settings=ShadowSettings(), clock=utc_now)
        for each in fleet:
            for name, (desired, reported) in each.shadows.items():
                # First something else, so that what search knows has been changed and not only made.
                other = {"reported": {"a": "old", "gone": 1}, "desired": {"a": ["old", 1]}}
                thing = Thing.parse(f"{tenant}:{each.id}")
                await service.update(thing, json.dumps({"state": other}).encode(), name)
                await service.update(thing, json.dumps({"state": None}).encode(), name)
                state = {"desired": desired, "reported": reported}
                await service.update(thing, json.dumps({"state": state}).encode(), name)


@dataclass(frozen=True)
class Searched:
    """The fleet, and the database as a tenant's requests see it."""

    urls: DatabaseUrls
    fleet: list[Device]
    conn: psycopg.Connection

    def find(self, term: Term, tenant: str = "acme") -> list[str]:
        found = clause(term, NOW)
        query = f"SELECT device_id FROM device d WHERE d.tenant_id = %(tenant)s AND {found.text} ORDER BY device_id"
        with self.conn.transaction():
            self.conn.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
            return [row[0] for row in self.conn.execute(query, found.params | {"tenant": tenant})]


@pytest.fixture(scope="module")
def searched(module_database: DatabaseUrls) -> Iterator[Searched]:
    store(module_database, "acme", devices())
    store(module_database, "zeta", [Device("t1", labels={"depot": "north"}, shadows={"": ({"a": 1}, {"a": "zeta"})})])
    with psycopg.connect(module_database.app, autocommit=True) as conn:
        yield Searched(module_database, devices(), conn)
