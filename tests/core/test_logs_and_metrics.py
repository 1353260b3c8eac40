"""What a process tells: JSON lines with tenant and thing, no secrets, and metrics on loopback."""

import json
import subprocess
import sys
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

_PROGRAM = """
import asyncio, logging, structlog
from core import logs
from core.db import Database, DatabaseUnavailable
from core.tenancy import tenant_id
from core.settings import DatabaseSettings, Settings

logs.configure(level={level!r}, json={json}, process="ingest")
log = structlog.get_logger()

async def one(thing):
    with logs.about(thing):
        await asyncio.sleep(0)
        log.info("sample.stored", rows=1)
        log.debug("hidden")

async def main():
    await asyncio.gather(one("acme:truck-1"), one("globex:van-2"), one(None))
    log.warning("after")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("broken")
    async with Database("postgresql://milkrun_app:hush@127.0.0.1:1/d") as db:
        db._pool.timeout = 0.2
        try:
            async with db.tenant(tenant_id("acme")):
                pass
        except DatabaseUnavailable as error:
            log.error("database", error=str(error))
    logging.getLogger("foreign").error("a library speaks")

asyncio.run(main())
"""


def run(level: str = "info", *, as_json: bool = True) -> str:
    program = _PROGRAM.format(level=level, json=as_json)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "", "logs go to stderr"
    return result.stderr


@pytest.fixture(scope="module")
def lines() -> list[dict[str, object]]:
    return [json.loads(line) for line in run().splitlines() if line.startswith("{")]


def test_each_line_is_an_object_with_level_time_and_process(lines):
    for line in lines:
        assert line["process"] == "ingest"
        assert str(line["timestamp"]).endswith(("Z", "+00:00"))
        assert line["level"] in {"info", "warning", "error"}
        assert line["event"]


def test_lines_inside_say_tenant_and_thing_of_their_own_task_and_lines_after_do_not(lines):
    stored = [line for line in lines if line["event"] == "sample.stored"]
    about = {(line.get("tenant"), line.get("thing")) for line in stored}
    assert about == {("acme", "acme:truck-1"), ("globex", "globex:van-2"), (None, None)}
    after = next(line for line in lines if line["event"] == "after")
    assert "tenant" not in after
    assert "thing" not in after


def test_an_exception_is_one_line_with_its_traceback(lines):
    broken = next(line for line in lines if line["event"] == "broken")
    assert "ZeroDivisionError" in str(broken["exception"])


def test_no_password_is_written_by_us_or_by_the_pool():
    for as_json in (True, False):
        text = run("debug", as_json=as_json)
        assert "database" in text
        assert "hush" not in text


def test_the_level_decides_what_is_written():
    assert "hidden" not in run("info")
    assert "hidden" in run("debug")
    assert "sample.stored" not in run("error")


_SERVING = """
import sys
from core import metrics
from core.settings import MetricsSettings
import {package}
import {package}.__main__
metrics.READY.set(1)
print(metrics.serve(MetricsSettings(port=0)), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("package", ["broker", "provisioning", "ingest"])
def test_every_process_exposes_its_metrics_on_loopback(package):
    with subprocess.Popen(
        [sys.executable, "-c", _SERVING.format(package=package)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            port = int(process.stdout.readline())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
        finally:
            process.stdin.close()
            process.wait(20)
    assert families["milkrun_ready"].samples[0].value == 1
    assert any(name.startswith(f"milkrun_{package}") for name in families)


def test_without_a_port_nothing_is_served():
    program = (
        "from core import metrics\nfrom core.settings import MetricsSettings\nprint(metrics.serve(MetricsSettings()))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "None\n"
