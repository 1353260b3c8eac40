"""Every operation of the OpenAPI document, and both streams, against everybody who may not use it."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import websockets

from api.access import ROLE_SCOPES, Role
from tests.api.contract import notices
from tests.api.contract.conftest import ACME, OPERATIONS, SECURED, ZETA, Operation, World
from tests.api.live.wire import Live

SECURED_IDS = [operation.id for operation in SECURED]
WITH_IDS = [operation for operation in SECURED if operation.ids]
UNKNOWN = {
    **notices.UNKNOWN,
    "user_id": "00000000-0000-4000-8000-000000000000",
    "client_id": "nobody-0000",
    "key_id": "nobodyskey",
    "tenant_name": "nowhere",
    "device": "no-such-truck",
    "serial": "00ff",
    "letter_id": "999999999",
    "name": "no-such-signal",
    "shadow": "no-such-shadow",
    "site": "site_nothing",
    "route": "route_nothing",
    "trip": "trip_nothing",
    "stop": "stop_nothing",
    "template": "no-such-template",
    "command": "cmd_nothing",
    "batch": "bat_nothing",
}
# Reads that a program with everything in place does not answer with 200.
OTHERWISE = {
    **notices.OTHERWISE,
    "read_session": 409,  # for people with a password
    "basemap": 404,  # this stack has none
}


def test_the_document_has_every_operation_and_each_says_who_may():
    assert len(SECURED) > 40
    assert len(set(SECURED_IDS)) == len(SECURED_IDS)
    assert {o.id for o in OPERATIONS} - set(SECURED_IDS) == {
        "token", "jwks", "metadata", "sign_in", "console_config", "healthz", "readyz", "track", "track_stream",
    }  # fmt: skip


async def test_nobody_gets_in_without_a_token_or_with_a_bad_one(world: World):
    for operation in SECURED:
        for token in (None, "nonsense", "mk_abcdefgh_nonsense", "eyJhbGciOiJub25lIn0.e30."):
            answer = await world.ask(operation, token, world.acme.ids)
            assert (answer.status_code, operation.id, token) == (401, operation.id, token)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_scope_that_is_missing_is_403(world: World):
    for operation in SECURED:
        if not operation.scopes:
            continue
        others = ROLE_SCOPES[Role.TENANT_ADMIN] - operation.scopes
        token = await world.platform.token(ACME, Role.TENANT_ADMIN, scopes=others)
        answer = await world.ask(operation, token, world.acme.ids)
        assert (answer.status_code, operation.id) == (403, operation.id), answer.text
        assert answer.json()["code"] == "insufficient_scope", operation.id


@pytest.mark.parametrize("written", ["bare", "full"])
async def test_a_foreign_id_is_404_and_reads_as_an_unknown_one(world: World, written: str):
    before = world.digest(ZETA)
    foreign = dict(world.zeta.ids)
    unknown = dict(UNKNOWN)
    if written == "full":
        foreign["device"], unknown["device"] = f"{ZETA}:{foreign['device']}", f"{ZETA}:{unknown['device']}"
    for operation in WITH_IDS:
        if "tenant_name" in operation.ids:
            continue  # operators alone: a tenant's admin has not the scope, which the matrix of scopes shows
        one = await world.ask(operation, world.acme.token, foreign)
        other = await world.ask(operation, world.acme.token, unknown)
        assert (one.status_code, operation.id) == (404, operation.id), one.text
        told, as_unknown = _anonymous(one.json(), operation, foreign), _anonymous(other.json(), operation, unknown)
        assert told == as_unknown, operation.id
        assert world.zeta.marker not in str(told), operation.id
    assert world.digest(ZETA) == before


async def test_an_own_device_with_a_foreign_part_is_404(world: World):
    mixed = {**world.acme.ids, "serial": world.zeta.ids["serial"], "letter_id": world.zeta.ids["letter_id"]}
    before = world.digest(ZETA)
    checked = 0
    for operation in WITH_IDS:
        if set(operation.ids) & {"serial", "letter_id"}:
            answer = await world.ask(operation, world.acme.token, mixed)
            assert (answer.status_code, operation.id) == (404, operation.id), answer.text
            checked += 1
    assert checked == 3
    assert world.digest(ZETA) == before


async def test_what_is_read_is_ones_own_alone(world: World):
    """The positive side: with the same requests each tenant sees its own facts, and no answer carries the other's."""
    seen = set()
    for operation in SECURED:
        if operation.method != "GET" or operation.path.startswith("/v1/tenants"):
            continue
        for mine, other in ((world.acme, world.zeta), (world.zeta, world.acme)):
            answer = await world.ask(operation, mine.token, mine.ids)
            assert answer.status_code == OTHERWISE.get(operation.id, 200), (operation.id, answer.text)
            if operation.id == "stream_events":
                continue  # read in test_neither_stream_tells_of_the_other_tenant
            assert other.marker not in answer.text, operation.id
            if mine.marker in answer.text:
                seen.add(operation.id)
    assert seen >= notices.SEEN | {
        "list_users", "show_user", "list_devices", "show_device", "list_positions",
        "list_sites", "show_site", "list_routes", "show_route", "list_trips", "show_trip",
        "list_metrics", "list_events", "list_device_events", "list_letters", "show_letter",
    }  # fmt: skip


@pytest.mark.parametrize("named", ["header", "query"])
async def test_naming_a_foreign_tenant_is_404_everywhere(world: World, named: str):
    before = world.digest(ZETA)
    for tenant in (str(ZETA), "nowhere"):
        more: dict[str, Any] = (
            {"headers": {"Milkrun-Tenant": tenant}} if named == "header" else {"params": {"tenant": tenant}}
        )
        for operation in SECURED:
            if operation.scopes & ROLE_SCOPES[Role.TENANT_ADMIN] or not operation.scopes:
                answer = await world.ask(operation, world.acme.token, world.zeta.ids, **dict(more))
                assert (answer.status_code, operation.id) == (404, operation.id), answer.text
                assert answer.json()["code"] == "tenant_not_found", operation.id
    assert world.digest(ZETA) == before


async def test_an_operator_acts_in_the_tenant_he_names_and_in_no_other(world: World):
    reads = [o for o in SECURED if o.method == "GET" and o.ids == ["device"]]
    assert len(reads) >= 4
    for operation in reads:
        here = await world.ask(operation, world.operator, world.acme.ids, headers={"Milkrun-Tenant": "acme"})
        there = await world.ask(operation, world.operator, world.acme.ids, headers={"Milkrun-Tenant": "zeta"})
        nowhere = await world.ask(operation, world.operator, world.acme.ids)
        assert (here.status_code, there.status_code, nowhere.status_code) == (200, 404, 400), operation.id
        assert nowhere.json()["code"] == "tenant_required"


async def test_naming_two_tenants_is_naming_none(world: World):
    for header, query in (("acme", "zeta"), ("zeta", "acme"), ("acme", ""), ("", "acme")):
        [devices] = [operation for operation in SECURED if operation.id == "list_devices"]
        for token in (world.acme.token, world.operator):
            more = {"headers": {"Milkrun-Tenant": header}, "params": {"tenant": query}}
            answer = await world.ask(devices, token, {}, **more)
            assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")


async def test_the_websocket_lets_nobody_in_who_may_not(world: World):
    api = world.platform
    for token in ("nonsense", "eyJhbGciOiJub25lIn0.e30."):
        assert await _closes(api, token=token) == 4001
    poor = await api.token(ACME, Role.TENANT_ADMIN, scopes=ROLE_SCOPES[Role.TENANT_ADMIN] - LIVE)
    assert await _closes(api, token=poor) == 4003
    assert await _closes(api, token=world.acme.token, path="/v1/ws?tenant=zeta") == 4004
    assert await _closes(api, token=world.acme.token, path="/v1/ws?tenant=nowhere") == 4004


async def test_neither_stream_tells_of_the_other_tenant(world: World):
    live = await Live.open(world.platform, world.acme.token)
    asked = {"devices": [world.zeta.ids["device"], f"{ZETA}:{world.zeta.ids['device']}"]}
    narrow = await live.subscribe(id="foreign", filter={"devices": asked["devices"][:1]})
    whole = await live.subscribe(id="all")
    await live.close()
    assert narrow["snapshot"] == []
    assert [line["device"] for line in whole["snapshot"]] == [world.acme.ids["device"]]
    assert world.zeta.marker not in str(whole)


LIVE = frozenset(scope for scope in ROLE_SCOPES[Role.TENANT_ADMIN] if str(scope) == "live:read")


async def _closes(api: Any, **how: Any) -> int:
    """The close code a connection ends with, or the status its handshake is refused with."""
    try:
        live = await Live.open(api, **how)
    except websockets.InvalidStatus as refused:
        return {401: 4001, 403: 4003, 404: 4004}[refused.response.status_code]
    return await live.closed()


def _anonymous(problem: dict[str, Any], operation: Operation, ids: Mapping[str, str]) -> dict[str, str]:
    """A problem without what the request itself said."""
    text = {key: str(value) for key, value in problem.items() if key != "request_id"}
    for name in operation.ids:
        for form in (ids[name], ids[name].rpartition(":")[2]):
            text = {key: re.sub(rf"(?<![\w-]){re.escape(form)}(?![\w-])", "ID", value) for key, value in text.items()}
    return text
