"""Two tenants with trucks, farms and a route, behind the real API."""

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from api.access import Role
from core.tenancy import TenantId
from provisioning.model import new_device
from tests.api.conftest import Api

ACME, ZETA = TenantId("acme"), TenantId("zeta")


@dataclass
class Dairy:
    """The API with clients: of acme's admin, of zeta's, and of whoever else is wanted."""

    api: Api
    acme: httpx.AsyncClient
    zeta: httpx.AsyncClient

    async def farm(self, number: int, http: httpx.AsyncClient | None = None, **more: Any) -> dict[str, Any]:
        body = {"name": f"Farm {number}", "code": f"farm-{number}", "lat": 47.0 + 0.01 * number, "lon": 9.5, **more}
        answer = await (http or self.acme).post("/v1/sites", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def route(self, *farms: int, http: httpx.AsyncClient | None = None, **more: Any) -> dict[str, Any]:
        body = {"name": "North", "code": "north", "stops": [{"site": f"farm-{n}"} for n in farms], **more}
        answer = await (http or self.acme).post("/v1/routes", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def trip(self, http: httpx.AsyncClient | None = None, **more: Any) -> dict[str, Any]:
        answer = await (http or self.acme).post("/v1/trips", json={"route": "north", "day": "2026-08-03", **more})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def site(self, *sites: str) -> httpx.AsyncClient:
        """A client of the role `site`."""
        token = self.api.tokens.of("acme", Role.SITE)
        known = self.api.tokens.known
        known[token] = dataclasses.replace(known[token], sites=frozenset(sites))
        return httpx.AsyncClient(base_url=self.api.url, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
async def dairy(api: Api) -> AsyncIterator[Dairy]:
    for tenant in (ACME, ZETA):
        trucks = [new_device("truck-1"), new_device("truck-2")]
        await api.services.provisioning.add_devices(tenant, trucks, keep=lambda _: None)
    async with api.client("acme") as acme, api.client("zeta") as zeta:
        yield Dairy(api, acme, zeta)


@pytest.fixture
async def round_of_three(dairy: Dairy) -> dict[str, Any]:
    """A trip of the route north: farms 1 to 3, truck-1, planned for 2026-08-03."""
    for number in (1, 2, 3):
        await dairy.farm(number)
    await dairy.route(1, 2, 3, starts_at="06:30", timezone="Europe/Zurich", device="truck-1")
    return await dairy.trip()
