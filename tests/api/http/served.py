"""The kernel with routes of its own: what every surface of the API shares, shown on a few made-up ones."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.access import Role, Scope
from api.app import ROUTERS, create_app
from api.http import etags, paging
from api.http.etags import Expected, Tagged
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page
from api.http.security import PUBLIC, Caller, needs
from api.process import server, services
from api.services import Services
from core.errors import Conflict
from core.settings import Settings
from core.tenancy import tenant_id
from tests.api.conftest import Tokens


class Churn(BaseModel):
    """Something that can be made."""

    name: str
    litres: float = 0.0


@dataclass
class Dairy:
    """What the made-up routes did, and how a test holds them up."""

    made: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    version: int = 3


def router_of(dairy: Dairy) -> APIRouter:  # noqa: C901  a row of small routes
    router = APIRouter(tags=["devices"])

    @router.post("/v1/churns", status_code=201)
    async def add_churn(
        churn: Churn, caller: Annotated[Caller, needs(Scope.DEVICES_WRITE)], response: Response
    ) -> Churn:
        if churn.name == "slow":
            await dairy.go_on.wait()
        if churn.name == "bug" and "bug" not in dairy.made:
            dairy.made.append("bug")
            raise RuntimeError("spilt")
        if churn.name in dairy.made and churn.name != "bug":
            raise Conflict(f"there is a churn {churn.name}")
        dairy.made.append(churn.name)
        response.headers["Location"] = f"/v1/churns/{quote(churn.name)}"
        return Churn(name=churn.name, litres=len(dairy.made))

    @router.get("/v1/churns")
    async def churns(
        _caller: Annotated[Caller, needs(Scope.DEVICES_READ)], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Page[str]:
        after = paging.decode(cursor, str) or ("",)
        rows = sorted(name for name in dairy.made if name > after[0])[: limit + 1]
        return paging.page(rows, limit, key=lambda name: (name,), item=lambda name: name)

    @router.get("/v1/churns/{name}")
    async def churn(name: str, _caller: Annotated[Caller, needs(Scope.DEVICES_READ)], tagged: Tagged) -> Churn:
        tagged(dairy.version)
        return Churn(name=name)

    @router.patch("/v1/churns/{name}")
    async def change_churn(
        name: str, _caller: Annotated[Caller, needs(Scope.DEVICES_WRITE)], expected: Expected, tagged: Tagged
    ) -> Churn:
        etags.require(expected, dairy.version)
        dairy.version += 1
        tagged(dairy.version)
        return Churn(name=name)

    @router.get("/v1/whose")
    async def whose(caller: Annotated[Caller, needs(Scope.DEVICES_READ)]) -> dict[str, str]:
        return {"tenant": caller.tenant, "device": str(caller.device("truck-17"))}

    @router.get("/v1/long", dependencies=[PUBLIC])
    async def long() -> list[int]:
        return list(range(2000))

    @router.get("/v1/bug", dependencies=[PUBLIC])
    async def bug() -> None:
        raise RuntimeError("the milk is spilt: hunter2")

    return router


@dataclass
class Kernel:
    url: str
    services: Services
    tokens: Tokens
    dairy: Dairy

    def client(self, tenant: str | None, role: Role = Role.TENANT_ADMIN) -> httpx.AsyncClient:
        return self.bearing(self.tokens.of(tenant, role))

    def bearing(self, token: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {token}"})

    def anybody(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url)


@asynccontextmanager
async def served(
    settings: Settings, tenants: tuple[str, ...] = ("acme", "zeta"), *, real_identity: bool = False, **replaced: object
) -> AsyncIterator[Kernel]:
    """The app with the made-up routes, and with `replaced` services, on a port of its own."""
    tokens, dairy = Tokens(), Dairy()
    async with services(settings, None if real_identity else tokens) as given:
        for name in tenants:
            await given.provisioning.add_tenant(tenant_id(name))
        ours = dataclasses.replace(given, **replaced)
        http = server(create_app(ours, (*ROUTERS, router_of(dairy))), settings)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        try:
            while not http.started:  # noqa: ASYNC110  uvicorn tells it by this flag alone
                await asyncio.sleep(0.01)
            yield Kernel(f"http://127.0.0.1:{listener.getsockname()[1]}", ours, tokens, dairy)
        finally:
            dairy.go_on.set()
            http.should_exit = True
            await serving
            listener.close()
