"""docs/api.md: its examples run, and its table of errors is the one the code has."""

import asyncio
import importlib
import json
import pkgutil
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import api as package
from api.http.problems import STATUS
from api.identity.bootstrap import ensure_operator_client
from core.errors import Conflict, MilkrunError
from core.settings import IdentitySettings, Settings
from tests.api.http.served import served
from tests.house.tree import ROOT

GUIDE = ROOT / "docs/api.md"
_ROW = re.compile(r"^\| `(\w+)` \| ([\d, ]+) \| .+ \|$", re.MULTILINE)
# Answered without an error class of their own.
PLAIN = {"not_found": 404, "method_not_allowed": 405, "too_large": 413, "internal": 500}
# Of these packages everything can come out of a route, but for what stands here.
ELSEWHERE = {
    "cannot_listen": "said by the process, which does not start",
    "folder_taken": "a folder of the command line",
    "invalid_host": "a server's name, on the command line",
    "invalid_manifest": "a file of the command line",
    "shadow_failed": "said to a device over MQTT",
    "auth_mismatch": "live.md: said on a socket",
    "auth_required": "live.md: said on a socket",
    "invalid_message": "live.md: said on a socket",
    "too_many_subscriptions": "live.md: said on a socket",
    "unknown_channel": "live.md: said on a socket",
    "unknown_subscription": "live.md: said on a socket",
    "unknown_type": "live.md: said on a socket",
}
REACHING = ("api.", "provisioning.", "shadow.", "ingest.errors", "core.db", "core.bus", "core.channels", "core.tenancy")


def documented(guide: str) -> dict[str, set[int]]:
    return {code: {int(status) for status in statuses.split(",")} for code, statuses in _ROW.findall(guide)}


def possible() -> dict[str, set[int]]:
    """Codes a route can answer with, and their statuses."""
    for module in pkgutil.walk_packages(package.__path__, "api."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, set[int]] = {code: {status} for code, status in PLAIN.items()}
    for error in _below(MilkrunError):
        if error.__module__.startswith(REACHING) and error.code not in ELSEWHERE:
            found.setdefault(error.code, set()).add(STATUS[error.kind])
    found[Conflict.code] = {409}
    return found


def _below(error: type[MilkrunError]) -> Iterator[type[MilkrunError]]:
    for each in error.__subclasses__():
        if hasattr(each, "code"):  # a base of others has none
            yield each
        yield from _below(each)


def test_the_table_of_errors_is_the_one_the_code_has():
    assert documented(GUIDE.read_text()) == possible()


def test_what_is_left_out_of_the_table_is_an_error_of_ours():
    assert ELSEWHERE.keys() <= {error.code for error in _below(MilkrunError)}


def test_a_missing_row_and_a_wrong_status_are_found():
    guide = GUIDE.read_text()
    assert documented(re.sub(r"\| `device_exists` .*\n", "", guide)) != possible()
    assert documented(guide.replace("| `device_exists` | 409 |", "| `device_exists` | 400 |")) != possible()


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="the examples want curl and jq")
async def test_the_examples_run_as_they_stand(api_settings: Settings, tmp_path: Path):
    settings = api_settings.model_copy(update={"identity": IdentitySettings(keys_dir=tmp_path / "keys")})
    await ensure_operator_client(settings.database.operator_url, "local-admin", "s" * 40)
    script = "set -eu\n" + "\n".join(re.findall(r"^```sh\n(.+?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE))
    async with served(settings, (), real_identity=True) as kernel:
        stack = {"api_url": kernel.url, "admin": {"client_id": "local-admin", "client_secret": "s" * 40}}
        (tmp_path / ".milkrun").mkdir()
        (tmp_path / ".milkrun/stack.json").write_text(json.dumps(stack))
        process = await run(script, tmp_path)
    said = process.stdout
    assert process.returncode == 0, said + process.stderr
    assert '"name":"Acme Dairy"' in said.replace(": ", ":")
    assert said.count("HTTP/1.1 201") == 2
    assert said.lower().count("idempotency-replayed: true") == 1
    assert "\n304\n" in said
    assert '"depot":"south"' in said.replace(": ", ":")


async def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
