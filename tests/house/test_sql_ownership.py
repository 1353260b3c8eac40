"""SQL stands in store.py, queries.sql, core and the migrations; a table is written by its owner's package alone."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, ROOT, plant, sources

_STATEMENT = re.compile(
    r"\s*(SELECT\s.+\sFROM\s|SELECT\s+\w+\(|INSERT\s+INTO\s|UPDATE\s+[\w.]+\s.*\bSET\s|DELETE\s+FROM\s|COPY\s+[\w.]+\s|TRUNCATE\s"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|VIEW|INDEX|ROLE|SCHEMA|FUNCTION|POLICY|TEMP|DATABASE)|SET\s+(LOCAL|ROLE|SESSION)\b|GRANT\s|WITH\s+\w+\s+AS)",
    re.DOTALL,
)
# Who writes a table. Reading is freer, and every reader of another's table is named below with its reason.
OWNERS = {
    "tenant": "provisioning",
    "device": "provisioning",
    "certificate": "provisioning",
    "device_state": "ingest",
    "device_event": "ingest",
    "position": "ingest",
    "metric": "ingest",
    "presence": "broker",
    "presence_span": "broker",
    "shadow": "shadow",
    "command_template": "commands",
    "command_batch": "commands",
    "command": "commands",
    "command_lane": "commands",
    "map_leg": "eta",
    "map_spend": "eta",
    "map_total": "eta",
    "map_use": "eta",
    "eta_said": "eta",
    "eta_judged": "eta",
    "shadow_leaf": "shadow",
    "device_label": "provisioning",  # by a trigger on device
    "site": "eta",
    "route": "eta",
    "route_stop": "eta",
    "trip": "eta",
    "trip_stop": "eta",
    "trip_estimate": "eta",
    "trip_alert": "eta",
    "trip_road": "eta",
    "trip_lesson": "eta",
    "leg_road": "eta",
    "recipient": "notify",
    "subscription": "notify",
    "push_token": "notify",
    "notice": "notify",
    "webhook": "notify",
    "webhook_secret": "notify",
    "delivery": "notify",
    "tracking_link": "notify",
    "dead_letter": "core",
    "outbox": "core",
    "user_account": "api",
    "user_session": "api",
    "login_throttle": "api",
    "api_client": "api",
    "api_client_secret": "api",
    "api_key": "api",
    "audit_log": "api",
    "live_ticket": "api",
    "idempotency": "api",
}
READERS = {
    ("notify", "user_account"): "a disabled user, or one whose the site is no more, is told nothing from then on",
    ("notify", "site"): "what people call the place, and whose clock they read",
    ("notify", "trip"): "a tracking link shows the truck while it is under way, and not a moment longer",
    ("notify", "trip_stop"): "as trip: while the stop is ahead",
    ("notify", "trip_estimate"): "as trip: when it is expected",
    ("notify", "device_state"): "as trip: where the truck is",
    ("api", "trip_alert"): "the log of alerts, beside what became of them",
    ("api", "site"): "an alert is listed with the name of its place",
    ("api", "tenant"): "an account is made in a tenant that is there",
    ("api", "certificate"): "a list of devices says whose certificate is about to end",
    ("ingest", "tenant"): "which names exist, and how long each tenant keeps its rows",
    ("ingest", "device"): "ingest refuses unknown and suspended things at each message; an event would come too late",
    ("shadow", "device"): "a device that is unknown or out of service is refused at each request",
    ("shadow", "device_state"): "the last known state is made of it when somebody asks, at no write",
    ("shadow", "presence"): "as device_state: online or since when not",
    ("eta", "tenant"): "each tenant's trips of the day are made",
    ("eta", "device"): "a trip is given to a device that is there",
    ("broker", "tenant"): "the timeline of presence is kept no longer than the tenant's telemetry",
    ("commands", "device"): "only a device in service is sent commands, and a group is made of labels",
    ("commands", "presence"): "a command is sent while its device is connected, or not at all",
    ("broker", "device"): "presence of unknown things is not kept, and the guard cuts those out of service",
    ("broker", "certificate"): "the guard cuts a session whose certificates were all revoked while it was down",
    ("api", "device"): "lists, and snapshots of live streams: one query over registry and last state",
    ("api", "device_state"): "the last position of every device, listed and as snapshots of live streams",
    ("api", "shadow_leaf"): "devices are searched by what their shadows say",
    ("api", "device_label"): "devices are searched by their labels",
    ("api", "trip"): "the snapshot of a trip's live channel: one query over the trip, its stops and its estimate",
    ("api", "trip_stop"): "as trip",
    ("api", "trip_estimate"): "as trip",
    ("api", "presence"): "who is connected, listed and as snapshots of live streams",
}
WRITERS = {
    ("ingest", "dead_letter"): "letters are listed, marked replayed and expired where telemetry is",
    ("ingest", "outbox"): "the batch's own news, in its transaction, with a due time of its own",
    ("shadow", "outbox"): "as ingest: the desk tells its news itself, and the relay what it left behind",
}
_TABLE = re.compile(
    r"\b(?P<verb>INSERT\s+INTO|UPDATE|DELETE\s+FROM|FROM|JOIN|COPY|TRUNCATE)\s+(?:telemetry\.)?(?P<table>\w+)",
    re.IGNORECASE,
)


def outside_the_stores(root: Path) -> list[str]:
    found = []
    for path, tree in sources(root):
        if path.startswith("core/") or path.endswith("/store.py"):
            continue
        found += [
            f"{path}:{node.lineno} holds SQL: {node.value.strip()[:60]!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _STATEMENT.match(node.value)
        ]
    return found


def statements(root: Path, package: str) -> list[tuple[str, str]]:
    """All SQL text of a package with its place, comments left out."""
    texts = [
        (path, node.value)
        for path, tree in sources(root, (package,))
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _STATEMENT.match(node.value)
    ]
    texts += [(file.relative_to(root).as_posix(), file.read_text()) for file in (root / package).rglob("queries.sql")]
    return [(path, re.sub(r"--.*", "", text)) for path, text in texts]


def against_the_owners(root: Path) -> list[str]:
    found = []
    for package in PACKAGES:
        if not (root / package).is_dir():
            continue
        for path, text in statements(root, package):
            for match in _TABLE.finditer(re.sub(r"FOR\s+UPDATE|DO\s+UPDATE", "", text)):
                table, verb = match["table"], match["verb"].upper()
                owner = OWNERS.get(table, package)
                is_read = verb in {"FROM", "JOIN"}
                allowed = WRITERS.keys() | (READERS.keys() if is_read else set())
                if package not in {owner, "core"} and (package, table) not in allowed:
                    found.append(f"{path}: {verb} {table}, which {owner} owns")
    return found


def unowned(schema: str) -> set[str]:
    """Tables the migrations make that the map above does not know."""
    made = set(re.findall(r"^CREATE TABLE (?:telemetry\.)?(\w+)", schema, re.MULTILINE))
    kept_by_functions = {"rollup_pending", "rollup_running", "metric_1m", "metric_1h", "position_1m", "position_1h"}
    return made - kept_by_functions - OWNERS.keys()


def test_sql_stands_in_stores_queries_core_and_migrations_alone():
    assert outside_the_stores(ROOT) == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM device",
        "INSERT INTO tenant VALUES (1)",
        "UPDATE device SET x = 1",
        "DELETE FROM device",
        "COPY device FROM STDIN",
        "CREATE TABLE x ()",
        "SELECT set_config('a', 'b', true)",
        "SET LOCAL app.tenant_id = 'acme'",
    ],
)
def test_sql_in_a_service_is_found(tmp_path, text):
    plant(tmp_path, {"ingest/service.py": f"QUERY = {text!r}\n", "ingest/store.py": f"QUERY = {text!r}\n"})
    assert len(outside_the_stores(tmp_path)) == 1


def test_every_table_is_named_by_its_owner_or_by_a_reader_with_a_reason():
    assert against_the_owners(ROOT) == []


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("broker", "UPDATE device SET status = 'active'"),
        ("ingest", "INSERT INTO presence VALUES (1)"),
        ("provisioning", "SELECT * FROM telemetry.position"),
        ("provisioning", "SELECT * FROM device d JOIN presence p USING (tenant_id)"),
        ("ingest", "DELETE FROM device"),
    ],
)
def test_a_foreign_table_is_found(tmp_path, package, text):
    assert len(against_the_owners(plant(tmp_path, {f"{package}/queries.sql": f"-- name: x\n{text}\n"}))) == 1


def test_the_map_of_owners_knows_every_table():
    schema = "\n".join(file.read_text() for file in (ROOT / "core/migrations/versions").glob("*.sql"))
    assert unowned(schema) == set()
    assert {table for table in OWNERS if table not in schema} == set()


def test_a_table_without_an_owner_is_found():
    assert unowned("CREATE TABLE round (\n) ;\nCREATE TABLE telemetry.track (\n)") == {"round", "track"}
