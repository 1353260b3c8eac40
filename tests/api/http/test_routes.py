"""Every route says who may call it."""

from typing import Annotated

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute, APIWebSocketRoute

from api.access import Role, Scope
from api.app import ROUTERS, bare_app
from api.http.security import PUBLIC, Access, Caller, declared, needs
from tests.api.http.served import Kernel

# Open to all, each for a reason.
OPEN = {
    "/oauth/token": "where one proves who one is",
    "/.well-known/jwks.json": "public keys",
    "/.well-known/oauth-authorization-server": "where to get a token",
    "/v1/session": "signing in",
    "/console/config.json": "read before anybody has signed in",
    "/healthz": "asked by a supervisor",
    "/readyz": "asked by a load balancer",
    "/v1/openapi.json": "the contract is no secret",
    "/v1/track/{token}": "the link itself is the proof: signed, expiring, one stop of one trip",
    "/v1/track/{token}/stream": "as the page it feeds",
}


def silent(routers) -> list[str]:
    return [f"{route.path} says nothing" for router in routers for route in router.routes if declared(route) is None]


def test_every_route_says_who_may_call_it():
    assert silent(ROUTERS) == []
    assert len([route for route in bare_app().routes if isinstance(route, APIRoute)]) > 10


def test_a_route_that_says_nothing_is_found_and_keeps_the_app_from_starting():
    router = APIRouter()

    @router.get("/v1/planted")
    async def planted() -> None: ...

    @router.websocket("/v1/planted-socket")
    async def planted_socket() -> None: ...

    assert silent([router]) == ["/v1/planted says nothing", "/v1/planted-socket says nothing"]
    with pytest.raises(TypeError, match="/v1/planted does not say who may call it"):
        bare_app([*ROUTERS, router])


def test_what_a_route_says_is_read_as_it_was_meant():
    router = APIRouter()

    @router.get("/scoped")
    async def scoped(caller: Annotated[Caller, needs(Scope.DEVICES_READ, Scope.LIVE_READ)]) -> None: ...

    @router.get("/known")
    async def known(caller: Annotated[Caller, needs()]) -> None: ...

    @router.get("/open", dependencies=[PUBLIC])
    async def public() -> None: ...

    assert [declared(route) for route in router.routes] == [
        Access(False, (Scope.DEVICES_READ, Scope.LIVE_READ)),
        Access(False),
        Access(True),
    ]


def test_what_is_open_to_all_is_on_the_list_with_its_reason():
    routes = [route for route in bare_app().routes if isinstance(route, APIRoute | APIWebSocketRoute)]
    open_ones = {route.path for route in routes if declared(route).is_public}
    assert open_ones == OPEN.keys()


async def test_an_operator_names_the_tenant_he_acts_in_and_it_must_be_there(kernel: Kernel):
    async with kernel.client(None, Role.OPERATOR) as client:
        none = await client.get("/v1/whose")
        assert (none.status_code, none.json()["code"]) == (400, "tenant_required")
        for named in ({"headers": {"Milkrun-Tenant": "zeta"}}, {"params": {"tenant": "zeta"}}):
            answer = await client.get("/v1/whose", **named)
            assert answer.json() == {"tenant": "zeta", "device": "zeta:truck-17"}
        for unknown in ("nobody", "No Tenant", "a" * 33, "!"):
            answer = await client.get("/v1/whose", params={"tenant": unknown})
            assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")


async def test_who_belongs_to_a_tenant_cannot_name_another_whether_it_is_there_or_not(kernel: Kernel):
    async with kernel.client("acme") as client:
        assert (await client.get("/v1/whose", params={"tenant": "acme"})).json()["tenant"] == "acme"
        answers = [await client.get("/v1/whose", params={"tenant": name}) for name in ("zeta", "nobody")]
    bodies = [answer.json() | {"request_id": "", "detail": ""} for answer in answers]
    assert bodies[0] == bodies[1]
    assert bodies[0]["code"] == "tenant_not_found"


async def test_a_scope_one_has_not_got_is_named(kernel: Kernel):
    async with kernel.client("acme", Role.SITE) as client:
        answer = await client.get("/v1/churns")
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert "devices:read" in answer.json()["detail"]
