"""Two tenants that have one of everything, behind the real API with its real identity.

Each fact of a tenant carries its marker, so that an answer that tells of the wrong one is seen whatever its shape.
"""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from api.access import ROLE_SCOPES, Role, Scope
from api.app import bare_app, create_app
from api.http.openapi import document
from api.process import server, services
from core.settings import NotifySettings, Settings
from core.tenancy import TenantId
from provisioning.model import new_device
from tests.api.contract import notices
from tests.api.fleet.conftest import csr
from tests.api.identity.conftest import Platform, identity_settings
from tests.conftest import DatabaseUrls
from tests.ingest.feed import feed, minutes_ago, sample

__all__ = ["identity_settings"]

ACME, ZETA = TenantId("acme"), TenantId("zeta")
DOCUMENT: Mapping[str, Any] = document(bare_app())


@dataclass(frozen=True)
class Operation:
    """One method of one path of the OpenAPI document."""

    method: str
    path: str
    spec: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.spec["operationId"])

    @property
    def is_secured(self) -> bool:
        return bool(self.spec.get("security"))

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the operation asks for; empty where it is enough to be known."""
        return frozenset(Scope(scope) for way in self.spec.get("security", ()) for scope in way.get("oauth2", ()))

    @property
    def ids(self) -> list[str]:
        return [p["name"] for p in self.spec.get("parameters", ()) if p["in"] == "path"]

    @property
    def query(self) -> dict[str, str]:
        """A value for each parameter that has to be there."""
        return {"channel": "vehicles"} if self.id == "stream_events" else {}


OPERATIONS = [
    Operation(method.upper(), path, spec)
    for path, methods in DOCUMENT["paths"].items()
    for method, spec in methods.items()
]
SECURED = [operation for operation in OPERATIONS if operation.is_secured]


@dataclass(frozen=True)
class Tenant:
    """One tenant, an admin's token in it, and the ids of what it has."""

    name: TenantId
    token: str
    ids: Mapping[str, str]

    @property
    def marker(self) -> str:
        """Stands in every fact of this tenant and in none of the other."""
        return f"{self.name}-mark"


@dataclass(frozen=True)
class World:
    """The running API, both tenants and the operator."""

    platform: Platform
    urls: DatabaseUrls
    acme: Tenant
    zeta: Tenant
    operator: str

    async def ask(self, operation: Operation, token: str | None, ids: Mapping[str, str], **more: Any) -> httpx.Response:
        """Send the operation with a body that is right."""
        params = {**operation.query, **more.pop("params", {})}
        body = {"json": bodies()[operation.id]} if operation.id in bodies() else {}
        if operation.spec.get("requestBody") and not body:
            raise LookupError(f"{operation.id} takes a body: give the matrix one that is right")
        async with self.platform.http(token) as http:
            request = http.build_request(operation.method, path(operation, ids), params=params, **body, **more)
            answer = await http.send(request, stream=True)
            # The event stream has no end: its head says what the matrix asks.
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                await answer.aclose()
            else:
                await answer.aread()
            return answer

    def digest(self, tenant: TenantId) -> dict[str, str]:
        """What the database holds of a tenant, table by table."""
        tables = (
            *("tenant", "device", "certificate", "user_account", "api_client", "api_key", "dead_letter", "shadow"),
            *("site", "route", "route_stop", "trip", "trip_stop"),
        )
        with psycopg.connect(self.urls.owner) as conn:
            conn.execute("SET ROLE milkrun_operator")
            found = {}
            for table in tables:
                # Who was last seen when is not a change anybody made.
                rows = conn.execute(
                    f"SELECT md5(coalesce(string_agg((to_jsonb(t) - 'last_used_at')::text, '|' ORDER BY t::text), ''))"
                    f" FROM {table} t WHERE tenant_id = %s",
                    (tenant,),
                ).fetchone()
                found[table] = rows[0] if rows else ""
        return found


def path(operation: Operation, ids: Mapping[str, str]) -> str:
    return operation.path.format(**{name: ids[name] for name in operation.ids})


def bodies() -> dict[str, Any]:
    """A right body for each operation that takes one."""
    fresh = uuid.uuid4().hex[:10]
    return {
        "change_password": {"password": "a new long password", "current": "correct horse battery"},
        "add_user": {"email": f"{fresh}@farm.example", "role": "viewer", "password": "a long enough password"},
        "change_user": {"name": "changed"},
        "set_password": {"password": "another long password"},
        "add_client": {"name": fresh, "role": "integration", "scopes": ["devices:read"]},
        "change_client": {"name": "changed"},
        "rotate_secret": {},
        "add_key": {"name": fresh, "scopes": ["devices:read"]},
        "change_key": {"name": "changed"},
        "add_tenant": {"id": f"t-{fresh}", "name": "new"},
        "change_tenant": {"name": "changed"},
        "register_device": {"id": f"d-{fresh}"},
        "change_device": {"type": "changed"},
        "issue_certificate": {"csr": csr()},
        "revoke_certificate": {"reason": "unspecified"},
        "replay_letters": {"reason": "bad_json"},
        "add_site": {"name": fresh, "lat": 47.0, "lon": 9.5},
        "change_site": {"name": fresh},
        "add_route": {"name": fresh, "stops": [{"site": "no-such-site"}]},
        "change_route": {"name": fresh},
        "plan_route": {"day": "2026-08-03"},
        "add_trip": {"route": "no-such-route"},
        "change_trip": {"day": "2026-08-04"},
        "assign_trip": {"device": None},
        "abandon_trip": {"reason": fresh},
        "add_stop": {"site": "no-such-site"},
        "order_stops": {"stops": []},
        "change_stop": {"state": "skipped"},
        **{f"import_{what}": {"type": "FeatureCollection", "features": []} for what in ("sites", "routes")},
        "add_command_template": {"id": f"t-{fresh}"},
        "change_command_template": {"description": "changed"},
        "send_command": {"device": "no-such-truck", "template": "no-such-template"},
        "send_command_batch": {"labels": {"depot": fresh}, "template": "no-such-template"},
        **{f"{verb}_command{of}": {} for verb in ("cancel", "deny") for of in ("", "_batch")},
        **notices.BODIES,
        **{
            f"{verb}_{which}": {"state": {"desired": {"of": fresh}}}
            for verb in ("post", "patch")
            for which in ("shadow", "named_shadow")
        },
    }


@pytest.fixture
async def world(identity_settings: Settings, database: DatabaseUrls) -> AsyncIterator[World]:
    # The matrix asks faster than any client, and for longer than a token of those tests lives.
    quick = {"client_rate": 1e4, "client_burst": 10**6, "tenant_rate": 1e4, "tenant_burst": 10**6}
    folder = identity_settings.identity.keys_dir.parent
    settings = identity_settings.model_copy(
        update={
            "api": identity_settings.api.model_copy(update={**quick, "address_rate": 1e4, "address_burst": 10**6}),
            "identity": identity_settings.identity.model_copy(update={"token_ttl_s": 3600}),
            "notify": NotifySettings(link_key_file=folder / "links.key", secret_key_file=folder / "webhooks.key"),
        }
    )
    async with services(settings) as given:
        http = server(create_app(given), settings)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        live = asyncio.create_task(given.live.run())
        platform = Platform(f"http://127.0.0.1:{listener.getsockname()[1]}", given)
        try:
            while not http.started:  # noqa: ASYNC110  uvicorn tells it by this flag alone
                await asyncio.sleep(0.01)
            acme, zeta = await _tenant(platform, database, ACME), await _tenant(platform, database, ZETA)
            operator = await platform.token(None, Role.OPERATOR)
            yield World(platform, database, acme, zeta, operator)
        finally:
            given.live.drain()
            http.should_exit = True
            await serving
            live.cancel()
            await asyncio.wait([live])
            listener.close()


async def _tenant(platform: Platform, urls: DatabaseUrls, name: TenantId) -> Tenant:
    marker, given = f"{name}-mark", platform.services
    await given.provisioning.add_tenant(name, f"{marker} dairies")
    wanted = [new_device(f"{marker}-truck", labels={"depot": marker})]
    await given.provisioning.add_devices(name, wanted, keep=lambda _: None)
    thing = f"{name}:{marker}-truck"
    at = minutes_ago(5)
    event = {"ts": int(at.timestamp() * 1000), "boot": "b", "seq": 9, "type": f"{marker}-event", "data": {"of": marker}}
    await feed(
        urls,
        (thing, {**sample(at, 1), "m": {f"{marker}-signal": 3.5}}),
        (f"dt/milkrun/{thing}/event", event),
        (thing, f"not JSON, from {marker}".encode()),
    )
    user = await platform.user(name, f"{marker}@farm.example", Role.TENANT_ADMIN)
    client, secret = await platform.client(name, Role.TENANT_ADMIN, scopes=ROLE_SCOPES[Role.TENANT_ADMIN])
    token = await platform.exchange(client, secret)
    async with platform.http(token) as http:
        key = (await http.post("/v1/api-keys", json={"name": marker, "scopes": ["devices:read"]})).json()
        serial = (await http.get(f"/v1/devices/{marker}-truck/certificates")).json()["items"][0]["serial"]
        letter = (await http.get("/v1/dead-letters")).json()["items"][0]["id"]
        for shadow in ("shadow", f"shadows/{marker}-shadow"):
            await http.patch(f"/v1/devices/{marker}-truck/{shadow}", json={"state": {"reported": {"of": marker}}})
        await http.post("/v1/sites", json={"name": marker, "code": marker, "lat": 47.0, "lon": 9.5})
        await http.post("/v1/routes", json={"name": marker, "code": marker, "stops": [{"site": marker}]})
        by = {"template": f"{marker}-template", "note": marker}
        await http.post("/v1/command-templates", json={"id": by["template"], "description": marker})
        command = (await http.post("/v1/commands", json={"device": f"{marker}-truck", **by})).json()["id"]
        batch = (await http.post("/v1/command-batches", json={"devices": [f"{marker}-truck"], **by})).json()["id"]
        of_notices = await notices.add(http, urls, name, marker)
        trip = (await http.get(f"/v1/trips/{of_notices['trip']}")).json()
    ids = {
        **of_notices,
        "user_id": user.id,
        "client_id": client.id,
        "key_id": key["id"],
        "tenant_name": str(name),
        "device": f"{marker}-truck",
        "serial": serial,
        "letter_id": str(letter),
        "name": f"{marker}-signal",
        "shadow": f"{marker}-shadow",
        "site": marker,
        "route": marker,
        "trip": trip["id"],
        "stop": trip["stops"][0]["id"],
        "template": by["template"],
        "command": command,
        "batch": batch,
    }
    return Tenant(name, token, ids)
