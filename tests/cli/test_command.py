"""`milkrun command` as a person and as a script run it."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import Milkrun, milkrun_of_acme
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db


@pytest.fixture
def milkrun(database: DatabaseUrls, tmp_path: Path) -> Milkrun:
    run = milkrun_of_acme(database, tmp_path / "data")
    with psycopg.connect(database.operator) as conn:
        conn.execute(
            "INSERT INTO device (tenant_id, device_id, status, labels)"
            " SELECT 'acme', 't' || n, 'active', '{\"of\": \"acme\"}' FROM generate_series(1, 3) n"
        )
    for name, more in (("limit", {}), ("wipe", {"dangerous": True, "description": "Forgets everything"})):
        file = tmp_path / f"{name}.json"
        parameters = [{"name": "kmh", "type": "INTEGER", "maximum": 120, "required": False}]
        file.write_text(json.dumps({"id": name, "parameters": parameters, **more}))
        run("command", "template", "add", "acme", str(file))
    return run


def test_a_command_is_sent_listed_and_called_back(milkrun: Milkrun) -> None:
    sent = json.loads(milkrun("command", "send", "acme", "t1", "limit", "kmh=30", "--note", "trial", "--json").stdout)
    assert (sent["state"], sent["parameters"], sent["sender"]["kind"]) == ("CREATED", {"kmh": 30}, "cli")
    assert sent["id"] in milkrun("command", "list", "acme", "--open").stdout
    assert json.loads(milkrun("command", "list", "acme", "--state", "SUCCEEDED", "--json").stdout) == []
    gone = milkrun("command", "cancel", "acme", sent["id"], "--reason", "mistake").stdout
    assert "CANCELLED CANCELLED mistake" in gone
    watched = milkrun("command", "watch", "acme", sent["id"], code=1).stdout.splitlines()
    assert [line.split("  ")[1] for line in watched] == ["CREATED", "CANCELLED"]


def test_what_is_wrong_is_said_in_one_line(milkrun: Milkrun, tmp_path: Path) -> None:
    for args, said in (
        (("t1", "limit", "kmh=fast"), "it takes a INTEGER"),
        (("t1", "limit", "kmh=121"), "allowed is up to 120"),
        (("t1", "limit", "kmh"), "NAME=VALUE"),
        (("t1", "limit", "x=1"), "no parameter"),
    ):
        failed = milkrun("command", "send", "acme", *args, code=2)
        assert said in failed.stderr
        assert failed.stderr.count("\n") == 1
    assert "there is no device" in milkrun("command", "send", "acme", "t99", "limit", code=1).stderr
    file = tmp_path / "bad.json"
    file.write_text('{"id": "bad", "retries": 99}')
    assert "retries" in milkrun("command", "template", "add", "acme", str(file), code=2).stderr


def test_whoever_sends_does_not_approve(milkrun: Milkrun, database: DatabaseUrls) -> None:
    sent = json.loads(milkrun("command", "send", "acme", "t1", "wipe", "--json").stdout)
    assert sent["state"] == "AWAITING_APPROVAL"
    assert "another person" in milkrun("command", "approve", "acme", sent["id"], code=1).stderr
    with psycopg.connect(database.operator) as conn:
        conn.execute("""UPDATE command SET sender = '{"kind": "user", "id": "usr_1", "name": "Ann"}'""")
    assert "CREATED APPROVED" in milkrun("command", "approve", "acme", sent["id"]).stdout


def test_a_group_by_a_filter(milkrun: Milkrun) -> None:
    told = milkrun("command", "send", "acme", 'label.of = "acme"', "limit", "--where", "--rate", "60").stdout
    assert told.endswith("to 3 devices: 3 CREATED\n")
    batch = told.partition(" ")[0]
    assert milkrun("command", "cancel", "acme", batch).stdout.endswith("3 CANCELLED\n")
    assert "[kmh:INTEGER]" in milkrun("command", "template", "list", "acme").stdout
