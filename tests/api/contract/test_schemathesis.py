"""Schemathesis asks the running API everything the OpenAPI document allows, and much that it does not."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from api.access import Role
from tests.api.contract.conftest import ACME, World

_HERE = Path(__file__).parent
_SEED = os.environ.get("SCHEMATHESIS_SEED", "20261121")
# Without end by nature; their answers are read in tests/api/live and tests/api/notices.
_ENDLESS = ("--exclude-operation-id", "stream_events", "--exclude-operation-id", "track_stream")


@pytest.mark.parametrize("who", ["tenant_admin", "operator"])
async def test_nothing_is_found(world: World, who: str, tmp_path: Path):
    """No 5xx, no status the document does not name, schemas hold, wrong input is refused, right input is taken."""
    if who == "operator":
        token, only = world.operator, ("--include-tag", "tenants", "--header", f"Milkrun-Tenant: {ACME}")
    else:
        token, only = await world.platform.token(ACME, Role.TENANT_ADMIN), ()
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", _HERE / "schemathesis.toml"),
        *("run", f"{world.platform.url}/v1/openapi.json", *_ENDLESS, *only),
        *("--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--workers", "4", "--no-color"),
        *("--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "3"), "--seed", _SEED),
        *("--generation-database", "none", "--header", f"Authorization: Bearer {token}"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.api.contract.cases", "PYTHONPATH": str(_HERE.parents[2])}
    run = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await run.communicate()
    assert run.returncode == 0, said.decode()
