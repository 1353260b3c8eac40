"""Who may import whom: the contracts of pyproject.toml, and one door for each technology."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT, imports, plant, sources

# A technology, the modules that mean it, and the places (path prefixes) that may use it.
DOORS = {
    # A service that answers devices sits at a desk of its own (docs/adr/0017): its handlers and its process, no more.
    "MQTT": (
        ("core.mqtt", "amqtt", "aiomqtt", "paho"),
        (
            "core/mqtt/",
            "broker/",
            "ingest/",
            "sim/",
            "shadow/handlers.py",
            "shadow/process.py",
            "shadow/aws/mirror.py",
            "commands/handlers.py",
            "commands/process.py",
        ),
    ),
    "HTTP serving": (
        ("fastapi", "starlette", "uvicorn", "granian", "aiohttp.web", "http.server", "wsgiref", "socketserver"),
        ("api/",),
    ),
    # prometheus_client brings its own little server, which every process has on loopback.
    "metrics serving": (
        ("prometheus_client.start_http_server", "prometheus_client.exposition", "prometheus_client.make_wsgi_app"),
        ("core/metrics.py",),
    ),
    "database connections": (
        ("psycopg.connect", "psycopg.AsyncConnection", "psycopg.Connection", "psycopg_pool", "asyncpg", "sqlalchemy"),
        ("core/db.py", "core/migrate.py", "core/migrations/"),
    ),
    "Redis": (("redis", "aioredis", "valkey"), ("core/bus.py", "core/channels/", "core/limits.py")),
    "AWS": (("boto3", "botocore"), ("shadow/aws/client.py",)),
    "Alembic": (("alembic",), ("core/migrate.py", "core/migrations/")),
    # cli/stack/services.py asks a process it started on loopback whether it is ready.
    "clients of HTTP": (
        ("requests", "httpx", "httpcore", "aiohttp", "urllib.request", "http.client"),
        ("api/", "notify/", "eta/routing/engines/", "cli/stack/services.py"),
    ),
}
# psycopg beyond its doors: types and error classes, which open nothing.
PSYCOPG_TYPES = (
    "psycopg.errors",
    "psycopg.rows",
    "psycopg.types",
    "psycopg.Error",
    "psycopg.OperationalError",
    "psycopg.sql",
)
# An import inside a function hides a dependency. Each exception says why it stands there.
INNER_IMPORTS: dict[str, str] = {
    "shadow/aws/mode.py": "boto3 costs a process 0.25 s and 14 MB, and the local mode never asks for it"
}


def through_the_wrong_door(root: Path) -> list[str]:
    found = []
    for path, tree in sources(root):
        for line, name in imports(tree):
            for technology, (modules, places) in DOORS.items():
                if names(name, modules) and not path.startswith(places):
                    found.append(f"{path}:{line} imports {name}: {technology} is for {', '.join(places)}")
            is_core = path.startswith("core/")
            if names(name, ("psycopg",)) and not is_core and not names(name, PSYCOPG_TYPES):
                found.append(f"{path}:{line} imports {name}: psycopg outside core is for its types and errors")
            if names(name, ("psycopg.sql",)) and not is_core and not path.endswith("store.py"):
                found.append(f"{path}:{line} imports {name}: SQL is composed in store.py")
    return found


def names(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


def inside_functions(root: Path) -> list[str]:
    found = []
    for path, tree in sources(root):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and path not in INNER_IMPORTS:
                found += [f"{path}:{line} imports {name} inside {node.name}" for line, name in imports(node)]
    return found


def relative(root: Path) -> list[str]:
    return [f"{path}:{line} {name}" for path, tree in sources(root) for line, name in imports(tree) if name[0] == "."]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([str(program), "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_the_contracts_of_who_imports_whom_are_kept():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("core/clock.py", "import ingest.model"),
        ("ingest/reasons.py", "import broker.policy"),
        ("provisioning/errors.py", "import cli.main"),
        ("broker/errors.py", "import redis"),
        ("provisioning/errors.py", "import core.mqtt"),
        ("ingest/model.py", "import asyncio"),
    ],
)
def test_an_import_against_the_contracts_is_found(tmp_path, file, line):
    for name in ("core", "broker", "provisioning", "ingest", "shadow", "commands", "eta", "notify", "sim", "cli"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as target:
        target.write(f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert "1 broken" in result.stdout


def test_each_technology_has_one_door():
    assert through_the_wrong_door(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("provisioning/x.py", "from core.mqtt import MqttConnection"),
        ("cli/x.py", "from core import mqtt"),
        ("ingest/x.py", "from http.server import HTTPServer"),
        ("ingest/x.py", "from prometheus_client import start_http_server"),
        ("broker/x.py", "from psycopg import AsyncConnection"),
        ("broker/x.py", "import psycopg"),
        ("broker/x.py", "from psycopg import sql"),
        ("sim/x.py", "import redis.asyncio"),
        ("ingest/x.py", "import httpx"),
    ],
)
def test_a_second_door_is_found(tmp_path, file, line):
    assert len(through_the_wrong_door(plant(tmp_path, {file: line}))) >= 1


def test_no_function_imports():
    assert inside_functions(ROOT) == []
    assert all((ROOT / path).is_file() for path in INNER_IMPORTS), "an exception outlived its file"


def test_an_import_inside_a_function_is_found(tmp_path):
    text = "import os\n\ndef f():\n    async def g():\n        from json import loads\n"
    assert len(inside_functions(plant(tmp_path, {"core/x.py": text}))) == 2


def test_imports_are_absolute():
    assert relative(ROOT) == []


def test_a_relative_import_is_found(tmp_path):
    assert len(relative(plant(tmp_path, {"core/x.py": "from . import clock\nfrom ..sim import truck\n"}))) == 2
