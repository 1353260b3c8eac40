"""The client against a real Mosquitto on a plain listener of its own."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from core.mqtt import ConnectionLost, ConnectOptions, Message, MqttConnection, Refused, keep_connected

pytestmark = pytest.mark.mosquitto


class Broker:
    def __init__(self, program: Path, folder: Path, port: int, extra: str = "") -> None:
        self.port = port
        file = folder / "mosquitto.conf"
        file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n{extra}")
        self.process = subprocess.Popen(
            [str(program), "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def options(self, client_id: str, **more) -> ConnectOptions:
        return ConnectOptions(host="127.0.0.1", port=self.port, client_id=client_id, tls=None, **more)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
async def broker(mosquitto_path: Path, tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Broker]:
    made = Broker(mosquitto_path, tmp_path, free_port())
    await answering(made.port)
    yield made
    made.stop()


async def answering(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await writer.wait_closed()
                return
            await asyncio.sleep(0.02)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  the condition is what a callback of the client collects
            await asyncio.sleep(0.01)


async def settled() -> None:
    """Long enough for a broker on this machine to send what it is going to send."""
    await asyncio.sleep(0.3)


@pytest.mark.parametrize("protocol", [4, 5])
async def test_both_qualities_arrive_in_order_with_an_id_only_where_one_is_to_be_acknowledged(broker, protocol):
    got: list[Message] = []
    listener = await MqttConnection.open(broker.options("l", protocol=protocol), got.append)
    assert await listener.subscribe(["a/+", "b"]) == [1, 1]
    sender = await MqttConnection.open(broker.options("s", protocol=protocol))
    assert await sender.publish("a/1", b"none", qos=0) == 0
    assert await sender.publish("a/2", b"one") == 0
    assert await sender.publish("b", b"") == 0
    await until(lambda: len(got) == 3)
    assert [(m.topic, m.payload, m.packet_id > 0, m.is_redelivery) for m in got] == [
        (b"a/1", b"none", False, False),
        (b"a/2", b"one", True, False),
        (b"b", b"", True, False),
    ]
    await sender.disconnect()
    await listener.disconnect()


async def test_what_was_not_acknowledged_comes_again_marked_and_what_was_does_not(broker):
    options = broker.options("l", clean_start=False, session_expiry_s=600)
    first: list[Message] = []
    listener = await MqttConnection.open(options, first.append)
    assert listener.session_present is False
    await listener.subscribe(["t"])
    sender = await MqttConnection.open(broker.options("s"))
    for n in range(5):
        await sender.publish("t", str(n).encode())
    await until(lambda: len(first) == 5)
    listener.ack([first[0].packet_id, first[1].packet_id])
    await listener.publish("barrier", b"")  # its answer comes when the acknowledgements have been read
    listener.abort()
    await asyncio.wait([listener.lost])
    again: list[Message] = []
    listener = await MqttConnection.open(options, again.append)
    assert listener.session_present is True
    await until(lambda: len(again) == 3)
    assert [(m.payload, m.is_redelivery) for m in again] == [(b"2", True), (b"3", True), (b"4", True)]
    listener.ack([m.packet_id for m in again])
    await listener.publish("barrier", b"")
    await listener.disconnect()
    last: list[Message] = []
    listener = await MqttConnection.open(options, last.append)
    await settled()
    assert last == []
    await listener.disconnect()
    await sender.disconnect()


async def test_receive_maximum_bounds_what_is_on_its_way_until_it_is_acknowledged(broker):
    got: list[Message] = []
    listener = await MqttConnection.open(broker.options("l", receive_maximum=10), got.append)
    await listener.subscribe(["t"])
    sender = await MqttConnection.open(broker.options("s"))
    await asyncio.gather(*(sender.publish("t", str(n).encode()) for n in range(50)))
    await until(lambda: len(got) >= 10)
    await settled()
    assert len(got) == 10
    listener.ack([m.packet_id for m in got])
    await until(lambda: len(got) >= 20)
    while len(got) < 50:
        done = len(got)
        listener.ack([m.packet_id for m in got[done - 10 :]])
        await until(lambda done=done: len(got) > done)
    assert [m.payload for m in got] == [str(n).encode() for n in range(50)]
    await listener.disconnect()
    await sender.disconnect()


async def test_a_paused_connection_reads_nothing_and_loses_nothing(broker):
    got: list[Message] = []
    listener = await MqttConnection.open(broker.options("l"), got.append)
    await listener.subscribe(["t"])
    sender = await MqttConnection.open(broker.options("s"))
    listener.pause()
    listener.pause()
    for n in range(20):
        await sender.publish("t", str(n).encode())
    await settled()
    assert got == []
    listener.resume()
    listener.resume()
    await until(lambda: len(got) == 20)
    assert [m.payload for m in got] == [str(n).encode() for n in range(20)]
    await listener.disconnect()
    await sender.disconnect()


@pytest.mark.parametrize(("end", "wills"), [("abort", [b"gone"]), ("disconnect", [])])
async def test_the_will_is_published_when_the_link_dies_and_not_after_a_goodbye(broker, end, wills):
    got: list[Message] = []
    listener = await MqttConnection.open(broker.options("l"), got.append)
    await listener.subscribe(["will"])
    doomed = await MqttConnection.open(broker.options("d", will=("will", b"gone", 1, False)))
    if end == "abort":
        doomed.abort()
    else:
        await doomed.disconnect()
    await until(lambda: len(got) >= len(wills))
    await settled()
    assert [m.payload for m in got] == wills
    await listener.disconnect()


async def test_a_broker_that_falls_silent_is_noticed_within_the_keepalive(broker):
    connection = await MqttConnection.open(broker.options("k", keepalive_s=1))
    broker.process.send_signal(signal.SIGSTOP)
    waiting = asyncio.create_task(connection.publish("t", b"x"))
    with pytest.raises(ConnectionLost, match="silent"):
        await asyncio.wait_for(asyncio.shield(connection.lost), 20)
    with pytest.raises(ConnectionLost):
        await asyncio.wait_for(waiting, 20)
    assert connection.closed


async def test_an_idle_connection_stays_for_many_keepalives(broker):
    connection = await MqttConnection.open(broker.options("k", keepalive_s=2))
    await asyncio.sleep(7)
    assert not connection.closed
    assert await connection.publish("t", b"x") in {0, 0x10}
    await connection.disconnect()


async def test_a_killed_broker_ends_everything_that_waits_for_it(broker):
    connection = await MqttConnection.open(broker.options("k"))
    broker.process.send_signal(signal.SIGSTOP)
    waiting = [asyncio.create_task(connection.publish("t", b"x")), asyncio.create_task(connection.subscribe(["t"]))]
    await asyncio.sleep(0.05)
    broker.stop()
    for task in waiting:
        with pytest.raises(ConnectionLost):
            await asyncio.wait_for(task, 20)
    with pytest.raises(ConnectionLost):
        await connection.publish("t", b"x")
    connection.ack([1])  # acknowledging on a dead connection is no error: the message comes again
    await connection.disconnect()


async def test_nobody_listening_is_connection_lost(free_port):
    nobody = ConnectOptions(host="127.0.0.1", port=free_port(), client_id="c", tls=None)
    with pytest.raises(ConnectionLost, match="cannot be reached"):
        await MqttConnection.open(nobody)


async def test_a_server_that_accepts_and_says_nothing_is_a_timeout():
    server = await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", 0)
    writers: list[asyncio.StreamWriter] = []
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(TimeoutError):
        await MqttConnection.open(ConnectOptions(host="127.0.0.1", port=port, client_id="c", tls=None, timeout_s=0.3))
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(("protocol", "reason"), [(4, 5), (5, 0x87)])
async def test_a_refused_connect_says_why(mosquitto_path, tmp_path, free_port, protocol, reason):
    broker = Broker(mosquitto_path, tmp_path, free_port(), extra="allow_anonymous false\n")
    await answering(broker.port)
    with pytest.raises(Refused) as caught:
        await MqttConnection.open(broker.options("c", protocol=protocol))
    assert caught.value.reason == reason
    broker.stop()


async def test_a_client_that_takes_the_name_over_ends_the_old_connection(broker):
    old = await MqttConnection.open(broker.options("same"))
    new = await MqttConnection.open(broker.options("same"))
    with pytest.raises(ConnectionLost):
        await asyncio.wait_for(asyncio.shield(old.lost), 20)
    assert not new.closed
    await new.disconnect()


async def test_keep_connected_comes_back_after_each_loss_and_ends_with_the_session(broker):
    reports: list[Exception] = []
    sessions = 0

    async def session(connection: MqttConnection) -> None:
        nonlocal sessions
        sessions += 1
        if sessions < 4:
            connection.abort()
            await connection.lost

    await asyncio.wait_for(
        keep_connected(
            lambda: MqttConnection.open(broker.options("k")), session, report=reports.append, first_pause_s=0.01
        ),
        30,
    )
    assert sessions == 4
    assert [type(error) for error in reports] == [ConnectionLost] * 3


async def test_no_file_descriptor_stays_behind(broker):
    before = open_files()
    for _ in range(20):
        connection = await MqttConnection.open(broker.options("f"))
        connection.abort()
        await asyncio.wait([connection.lost])
    await until(lambda: open_files() <= before + 1)


def open_files() -> int:
    return psutil.Process().num_fds()
