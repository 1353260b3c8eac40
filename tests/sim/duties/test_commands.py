"""A simulated truck takes commands over its own link and a real broker, by its habits."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import cbor2
import pytest

from cli.stack.process import free_port
from core import topics
from core.clock import epoch_ms, utc_now
from core.mqtt import ConnectOptions, Message, MqttConnection, tls_context
from sim.duties.commands import Commands, Habits, Manner, read
from sim.link import DeviceLink, LinkOptions
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.faults import until
from tests.sim.platform import THING, credentials

COMMANDS = "svc-commands"


@pytest.fixture
def mosquitto(mosquitto_path: Path, tmp_path: Path) -> Iterator[MosquittoRunner]:
    with tempfile.TemporaryDirectory(prefix="milkrun-broker-") as folder:
        runner = MosquittoRunner(Fleet(tmp_path, free_port(), free_port()), Path(folder) / "broker")
        runner.start()
        yield runner
        runner.stop()


class Asker:
    """The commands service's end, in a test's hands."""

    def __init__(self, connection: MqttConnection, heard: list[tuple[str, str, dict[str, Any]]]) -> None:
        self._connection = connection
        self.heard = heard

    async def ask(self, execution: str, form: str = "json", **body: Any) -> None:
        body = {"executionId": execution, "command": "limit-speed", "parameters": {"limit_kmh": 30}} | body
        payload = cbor2.dumps(body) if form == "cbor" else json.dumps(body).encode()
        await self._connection.publish(topics.command(THING, execution, f"request/{form}"), payload)

    def words(self, execution: str) -> list[str]:
        return [
            body["status"] + ":" + body.get("statusReason", {}).get("reasonCode", "")
            for name, _, body in self.heard
            if name == execution
        ]


@asynccontextmanager
async def truck(runner: MosquittoRunner, folder: Path, habits: Habits) -> AsyncIterator[tuple[Commands, Asker]]:
    fleet = runner.fleet
    duty = Commands(THING, habits, utc_now)
    options = LinkOptions(
        host="localhost", port=fleet.device_port, least_pause_s=0.0, first_pause_s=0.05, longest_pause_s=0.2
    )
    link = DeviceLink(credentials(fleet, folder), options, [duty])
    service = fleet.credentials(COMMANDS, fleet.services)
    heard: list[tuple[str, str, dict[str, Any]]] = []

    def take(message: Message) -> None:
        connection.ack([message.packet_id] if message.packet_id else [])
        answer = topics.parse_command_answer(message.topic.decode())
        decode = cbor2.loads if answer.format == "cbor" else json.loads
        heard.append((answer.execution, answer.format, decode(message.payload)))

    connect = ConnectOptions(
        host="localhost",
        port=fleet.service_port,
        client_id=COMMANDS,
        tls=tls_context(fleet.services.ca_file, service.cert_file, service.key_file),
    )
    connection = MqttConnection(connect, take)
    await connection.connect()
    await connection.subscribe(topics.command_filters())
    running = asyncio.create_task(link.run())
    try:
        await until(lambda: link.is_connected)
        yield duty, Asker(connection, heard)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await connection.disconnect()


FAST = {"work_s": 0.05, "slow_s": 1.0}


async def test_it_says_that_it_works_then_that_it_is_done_and_with_what(mosquitto, tmp_path) -> None:
    async with truck(mosquitto, tmp_path / "d", Habits(**FAST)) as (duty, asker):
        await asker.ask("cmd_1", parameters={"limit_kmh": 30, "soft": True})
        await asker.ask("cmd_2", form="cbor", parameters={"key": b"\x00\x01"})
        await until(lambda: asker.words("cmd_2") == ["IN_PROGRESS:", "SUCCEEDED:"])
        assert asker.words("cmd_1") == ["IN_PROGRESS:", "SUCCEEDED:"]
        assert [body["result"] for _, _, body in asker.heard if "result" in body] == [
            {"limit_kmh": {"s": "30"}, "soft": {"b": True}},
            {"key": {"bin": b"\x00\x01"}},
        ]
        assert {form for name, form, _ in asker.heard if name == "cmd_2"} == {"cbor"}
        assert [request.execution for request in duty.carried_out] == ["cmd_1", "cmd_2"]


async def test_what_is_asked_again_is_answered_again_and_done_once(mosquitto, tmp_path) -> None:
    async with truck(mosquitto, tmp_path / "d", Habits(**FAST)) as (duty, asker):
        await asker.ask("cmd_1")
        await asker.ask("cmd_1")
        await until(lambda: asker.words("cmd_1")[-1:] == ["SUCCEEDED:"])
        await asker.ask("cmd_1")
        await until(lambda: asker.words("cmd_1").count("SUCCEEDED:") >= 2)
        assert len(duty.carried_out) == 1
        assert duty.counts.repeated >= 1


async def test_what_is_past_its_time_is_refused(mosquitto, tmp_path) -> None:
    async with truck(mosquitto, tmp_path / "d", Habits(**FAST)) as (duty, asker):
        await asker.ask("late", expiresAt=epoch_ms(utc_now() - timedelta(seconds=1)))
        await asker.ask("soon", expiresAt=epoch_ms(utc_now() + timedelta(minutes=1)))
        await until(lambda: asker.words("soon")[-1:] == ["SUCCEEDED:"])
        assert asker.words("late") == ["REJECTED:EXPIRED"]
        assert [request.execution for request in duty.carried_out] == ["soon"]


async def test_it_refuses_fails_and_is_slow_as_its_habits_say_and_one_thing_after_the_other(
    mosquitto, tmp_path
) -> None:
    always = {"refused": Manner.REFUSE, "failing": Manner.FAIL, "slow": Manner.SLOW, "ignored": Manner.SILENT}
    async with truck(mosquitto, tmp_path / "d", Habits(always=always, **FAST)) as (duty, asker):
        for name in always:
            await asker.ask(name, command=name)
        await asker.ask("last", command="horn")
        await until(lambda: asker.words("slow") == ["IN_PROGRESS:"])
        assert asker.words("last") == []
        await until(lambda: asker.words("last")[-1:] == ["SUCCEEDED:"])
        assert asker.words("refused") == ["REJECTED:NOT_NOW"]
        assert asker.words("failing") == ["IN_PROGRESS:", "FAILED:NO_ANSWER"]
        assert asker.words("slow") == ["IN_PROGRESS:", "SUCCEEDED:"]
        assert asker.words("ignored") == []
        assert [request.execution for request in duty.carried_out] == ["slow", "last"]


async def test_a_crash_in_the_middle_is_owned_up_to_when_it_is_back(mosquitto, tmp_path) -> None:
    habits = Habits(always={"crashing": Manner.CRASH}, **FAST)
    async with truck(mosquitto, tmp_path / "d", habits) as (duty, asker):
        await asker.ask("cmd_1", command="crashing")
        await until(lambda: asker.words("cmd_1") == ["IN_PROGRESS:", "FAILED:INTERRUPTED"])
        await asker.ask("cmd_1", command="crashing")
        await until(lambda: asker.words("cmd_1").count("FAILED:INTERRUPTED") == 2)
        assert duty.carried_out == []
        assert "closed its connection" in mosquitto.log or "Bad socket" in mosquitto.log


async def test_work_that_a_lost_link_interrupts_is_finished_when_it_is_back(mosquitto, tmp_path) -> None:
    async with truck(mosquitto, tmp_path / "d", Habits(slow=1.0, slow_s=0.6)) as (duty, asker):
        await asker.ask("cmd_1")
        await until(lambda: asker.words("cmd_1") == ["IN_PROGRESS:"])
        await _cut(mosquitto.fleet)
        await until(lambda: asker.words("cmd_1")[-1:] == ["SUCCEEDED:"])
        assert len(duty.carried_out) == 1


def test_shares_of_habits_come_out_and_hold_for_an_execution() -> None:
    habits = Habits(refuse=0.2, crash=0.1)
    drawn = [habits.manner("horn", f"cmd_{number}") for number in range(2000)]
    assert drawn == [habits.manner("horn", f"cmd_{number}") for number in range(2000)]
    assert 0.15 < drawn.count(Manner.REFUSE) / 2000 < 0.25
    assert 0.06 < drawn.count(Manner.CRASH) / 2000 < 0.14


@pytest.mark.parametrize(
    ("rest", "payload"),
    [
        ("request/json", b"nonsense"),
        ("request/cbor", b"\xff\xff"),
        ("request/json", b"[]"),
        ("request/xml", b"{}"),
        ("response/accepted/json", b"{}"),
    ],
)
def test_what_is_no_request_is_passed_over(rest, payload) -> None:
    assert read(topics.command(THING, "cmd_1", rest), payload) is None


def test_a_request_with_aws_own_payload_alone_is_read() -> None:
    request = read(topics.command(THING, "cmd_1", "request/json"), b'{"anything": "goes"}')
    assert request is not None
    assert (request.execution, request.template, request.parameters, request.expires_at_ms) == ("cmd_1", "", {}, None)


async def _cut(fleet: Fleet) -> None:
    """Take the device's name over, as the broker service cuts a session."""

    def kick() -> None:
        with fleet.service("svc-broker") as service:
            service.connect(str(THING))

    await asyncio.to_thread(kick)
