"""`milkrun shadow` on a real database."""

import json
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from cli.shadow import InvalidAssignment, shadow_app, tree
from shadow.errors import ShadowNotFound, ShadowVersionConflict
from tests.conftest import DatabaseUrls


@pytest.fixture
def shadow(database: DatabaseUrls, monkeypatch: pytest.MonkeyPatch):
    """Runs a command and gives its answer."""
    for name, url in (("URL", database.owner), ("APP_URL", database.app), ("OPERATOR_URL", database.operator)):
        monkeypatch.setenv(f"MILKRUN_DATABASE_{name}", url)
    with psycopg.connect(database.operator) as conn:
        conn.execute("INSERT INTO tenant (tenant_id, name) VALUES ('acme', 'Acme')")
        conn.execute("INSERT INTO device (tenant_id, device_id, status) VALUES ('acme', 't1', 'active')")

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(shadow_app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)

    return run


@pytest.mark.db
def test_what_is_set_is_shown_and_deleted(shadow):
    said = shadow("set", "acme:t1", "cooling.target_c=3", "mode=eco")
    assert (said["version"], said["state"]) == (1, {"desired": {"cooling": {"target_c": 3}, "mode": "eco"}})
    shadow("set", "acme:t1", "mode=eco", "--reported")
    assert shadow("get", "acme:t1")["state"]["delta"] == {"cooling": {"target_c": 3}}
    shadow("set", "acme:t1", "cooling=null", "--version", "2")
    with pytest.raises(ShadowVersionConflict):
        shadow("set", "acme:t1", "mode=off", "--version", "2")
    assert shadow("delete", "acme:t1")["version"] == 3
    with pytest.raises(ShadowNotFound):
        shadow("get", "acme:t1")


@pytest.mark.db
def test_a_named_shadow_is_another_one(shadow):
    shadow("set", "acme:t1", "litres=[1,2]", "--name", "milk")
    assert shadow("get", "acme:t1", "--name", "milk")["state"]["desired"] == {"litres": [1, 2]}
    with pytest.raises(ShadowNotFound):
        shadow("get", "acme:t1")


def test_values_are_json_or_texts():
    assert tree(["a.b=1", "a.c=on", "d=", 'e="1"', "f=true", "g=a=b"]) == {
        "a": {"b": 1, "c": "on"},
        "d": "",
        "e": "1",
        "f": True,
        "g": "a=b",
    }


@pytest.mark.parametrize("wrong", [["a"], ["=1"], ["a..b=1"], ["a=1", "a.b=2"], ["a.b=1", "a=2"], ["a=1", "a=2"]])
def test_what_is_no_assignment_is_refused(wrong):
    with pytest.raises(InvalidAssignment):
        tree(wrong)
