"""Every named query is used, and every query is one that PostgreSQL understands on the schema as it is."""

import ast
import re
from pathlib import Path

import psycopg
import pytest

from core import sql
from tests.conftest import DatabaseUrls
from tests.house.tree import PACKAGES, ROOT, plant

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_PARAMETER = re.compile(r"%\((\w+)\)s|%s")
# Types the driver sends along where the text alone does not tell them.
TYPES = {"at": "timestamptz"}
ALL = [
    file.relative_to(ROOT).parent.as_posix() for package in PACKAGES for file in (ROOT / package).rglob("queries.sql")
]


def unused(root: Path) -> list[str]:
    """Queries whose name no Python file of their package says as a string."""
    found = []
    for file in root.rglob("queries.sql"):
        package = root / file.relative_to(root).parts[0]
        said = {
            node.value
            for source in package.rglob("*.py")
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        found += [f"{file.relative_to(root)}: {name}" for name in _NAME.findall(file.read_text()) if name not in said]
    return found


def numbered(query: str) -> str:
    """A statement that prepares the query with PostgreSQL's own parameters, $1 and so on, one for each name."""
    seen: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match[1] or f"\0{len(seen)}"
        if name not in seen:
            seen.append(name)
        return f"${seen.index(name) + 1}"

    text = _PARAMETER.sub(number, query).replace("%%", "%")
    types = ", ".join(TYPES.get(name, "unknown") for name in seen)
    return f"PREPARE q {f'({types})' if seen else ''} AS {text}"


def unprepared(conn: psycopg.Connection, queries: dict[str, str]) -> list[str]:
    found = []
    for name, query in queries.items():
        conn.prepare_threshold = None
        for part in re.sub(r"--.*", "", query).split(";"):
            try:
                conn.execute(numbered(part) if "CREATE TEMP" not in part else part)
                conn.execute("DEALLOCATE ALL")
            except psycopg.Error as error:
                found.append(f"{name}: {error}")
    return found


def test_every_named_query_is_used():
    assert [name for package in PACKAGES for name in unused(ROOT / package / "..") if name.startswith(package)] == []


def test_an_unused_query_is_found(tmp_path):
    plant(
        tmp_path, {"ingest/queries.sql": "-- name: one\nSELECT 1\n-- name: two\nSELECT 2\n", "ingest/x.py": "q['one']"}
    )
    assert unused(tmp_path) == ["ingest/queries.sql: two"]


@pytest.mark.db
@pytest.mark.parametrize("place", ALL)
def test_every_query_parses_on_the_schema(database: DatabaseUrls, place):
    queries = dict(sql.load(place.replace("/", ".")))
    assert queries
    with psycopg.connect(database.owner, autocommit=True) as conn:
        conn.execute("SET search_path = public")
        if "staging" in queries:
            assert unprepared(conn, {"staging": queries.pop("staging")}) == []
        assert unprepared(conn, queries) == []


@pytest.mark.db
def test_a_query_that_does_not_parse_is_found(database: DatabaseUrls):
    with psycopg.connect(database.owner, autocommit=True) as conn:
        assert unprepared(conn, {"good": "SELECT name FROM tenant WHERE tenant_id = %(t)s AND %(t)s <> %s"}) == []
        assert (
            len(unprepared(conn, {"column": "SELECT nme FROM tenant", "text": "SELEC 1", "many": "SELECT 1; SELEC 2"}))
            == 3
        )
