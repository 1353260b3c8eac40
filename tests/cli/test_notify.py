"""`milkrun webhook` as a person and as a script run it."""

import asyncio
import json
import sys
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import Milkrun, environment_on, milkrun_in
from tests.conftest import DatabaseUrls
from tests.notify.receivers import Answer, http1

pytestmark = [pytest.mark.db, pytest.mark.redis]


@pytest.fixture
def environment(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> dict[str, str]:
    with psycopg.connect(database.owner) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme')")
    return environment_on(
        database,
        tmp_path / "data",
        MILKRUN_REDIS_URL=redis_url,
        MILKRUN_NOTIFY_SECRET_KEY_FILE=str(tmp_path / "webhooks.key"),
        MILKRUN_NOTIFY_WEBHOOK_HTTP="true",
        MILKRUN_NOTIFY_WEBHOOK_NETWORKS='["127.0.0.0/8"]',
    )


@pytest.fixture
def milkrun(environment: dict[str, str]) -> Milkrun:
    return milkrun_in(environment)


def test_a_webhook_is_added_listed_and_noted(milkrun: Milkrun, database: DatabaseUrls):
    made = json.loads(milkrun("webhook", "add", "acme", "http://127.0.0.1:9/", "--kind", "alert.5min", "--json").stdout)
    assert made["secret"].startswith("whsec_")
    [listed] = json.loads(milkrun("webhook", "list", "acme", "--json").stdout)
    assert (listed["id"], listed["kinds"], "secret" in listed) == (made["id"], ["alert.5min"], False)
    assert made["id"] in milkrun("webhook", "list", "acme").stdout
    with psycopg.connect(database.owner) as conn:
        conn.execute("SET ROLE milkrun_operator")
        row = conn.execute("SELECT action, target, actor_name, after::text FROM audit_log").fetchone()
    assert row[:3] == ("webhook.created", made["id"], "jo")
    assert "whsec_" not in row[3]


def test_what_is_wrong_is_one_line(milkrun: Milkrun):
    for args, said, code in (
        (("add", "acme", "https://10.0.0.1/"), "not reachable from outside", 2),
        (("add", "acme", "http://127.0.0.1/", "--kind", "alert.never"), "there are alert.10min", 2),
        (("list", "nowhere"), "no tenant nowhere", 1),
        (("test", "acme", "whk_nothing"), "no webhook", 1),
    ):
        done = milkrun("webhook", *args, code=code)
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


async def test_a_test_event_is_told_by_its_answer(milkrun: Milkrun, environment: dict[str, str], tmp_path: Path):
    async with http1(lambda _: Answer(204)) as receiver:
        added = await asyncio.to_thread(milkrun, "webhook", "add", "acme", f"{receiver.url}/hook", "--json")
        hook = json.loads(added.stdout)["id"]
        idle = await asyncio.to_thread(milkrun, "webhook", "test", "acme", hook, "--wait", "1", code=1)
        assert "does `python -m notify` run?" in idle.stdout
        notify = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "notify", env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            taken = await asyncio.to_thread(milkrun, "webhook", "test", "acme", hook, "--wait", "30")
            assert "taken: answered 204" in taken.stdout
            receiver.usually = lambda _: Answer(500)
            refused = await asyncio.to_thread(milkrun, "webhook", "test", "acme", hook, "--wait", "30", code=1)
            assert "not taken: answered 500" in refused.stdout
        finally:
            notify.terminate()
            assert await asyncio.wait_for(notify.wait(), 40) == 0
        assert {asked.json["type"] for asked in receiver.asked} == {"webhook.test"}
