"""`python -m api` as a process of its own."""

import asyncio
import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cli.stack.process import LOOPBACK, Child
from cli.stack.services import API, SERVICES, ServicePart
from core.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.redis]

SERVICE = next(service for service in SERVICES if service.name == API)


@pytest.fixture
def part(api_settings: Settings, tmp_path: Path, free_port: Callable[[], int]):
    database = api_settings.database
    variables = {
        "MILKRUN_DATABASE_APP_URL": database.app_url,
        "MILKRUN_DATABASE_OPERATOR_URL": database.operator_url,
        "MILKRUN_DATABASE_INGEST_URL": database.ingest_url,
        "MILKRUN_REDIS_URL": api_settings.redis.url,
        "MILKRUN_PROVISIONING_CA_DIR": str(tmp_path / "ca"),
        "MILKRUN_IDENTITY_KEYS_DIR": str(tmp_path / "keys"),
        "MILKRUN_API_PORT": str(free_port()),
    }
    started = ServicePart(SERVICE, variables, log=tmp_path / "api.log", metrics_port=free_port())
    started.variables = variables
    yield started
    if started.child is not None:
        started.child.stop()


async def test_what_was_begun_is_finished_and_nothing_new_is_taken(part: ServicePart):
    await asyncio.to_thread(part.start)
    port = int(part.variables["MILKRUN_API_PORT"])
    body = json.dumps({"email": "ann@example.com", "password": "not hers at all"}).encode()
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    head = (
        f"POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body[:10])
    await writer.drain()
    # What came before it on another connection is answered, so this one's head has been read by then.
    assert await asyncio.to_thread(status, port, "/healthz") == 200
    part.child.ask_to_stop()
    while await asyncio.to_thread(listens, port):  # noqa: ASYNC110  another process's doing
        await asyncio.sleep(0.01)
    assert part.child.exit_code is None
    writer.write(body[10:])
    assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
    writer.close()
    assert await asyncio.to_thread(part.child._popen.wait, 30) == 0
    assert '"event": "api.drained"' in part.child.log_tail(5)


def test_a_process_whose_port_is_taken_ends_and_says_so(part: ServicePart):
    with socket.create_server((LOOPBACK, int(part.variables["MILKRUN_API_PORT"]))):
        part.child = Child(part._command())
        assert part.child._popen.wait(60) != 0
    [said] = part.child.log_tail().splitlines()
    assert (
        said
        == f"api: 127.0.0.1 port {part.variables['MILKRUN_API_PORT']} cannot be listened on: Address already in use"
    )


def test_the_owners_login_is_not_given_and_not_needed(part: ServicePart):
    part.start()
    assert "MILKRUN_DATABASE_URL" not in Path(f"/proc/{part.child.pid}/environ").read_text()
    with psycopg.connect(part.variables["MILKRUN_DATABASE_APP_URL"]) as conn:
        assert conn.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user").fetchone() == (
            False,
            False,
        )


def status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
