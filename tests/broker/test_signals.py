from pathlib import Path

import pytest

from broker import signals
from broker.signals import Connected, Disconnected, Dropping, LogTail, Signal, Started, Subscribed, TakenOver, parse


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        (
            "New client connected from 10.1.2.3:39438 as acme:w (p5, c0, k60, u'acme:w').",
            Connected(7, "acme:w", "acme:w", "10.1.2.3"),
        ),
        ("New client connected from ::1:39438 as x (p2, c1, k0).", Connected(7, "x", "", "::1")),
        ("Client acme:w disconnected.", Disconnected(7, "acme:w", "CLIENT_INITIATED_DISCONNECT")),
        ("Client acme:w closed its connection.", Disconnected(7, "acme:w", "CONNECTION_LOST")),
        ("Client acme:w has exceeded timeout, disconnecting.", Disconnected(7, "acme:w", "MQTT_KEEP_ALIVE_TIMEOUT")),
        ("Client acme:w disconnected, not authorised.", Disconnected(7, "acme:w", "FORBIDDEN_ACCESS")),
        ("Client acme:w disconnected due to malformed packet.", Disconnected(7, "acme:w", "CLIENT_ERROR")),
        (
            "Client acme:w disconnected due to QoS too high or retain not supported.",
            Disconnected(7, "acme:w", "CLIENT_ERROR"),
        ),
        ("Client acme:w disconnected: Connection reset by peer.", Disconnected(7, "acme:w", "CONNECTION_LOST")),
        ("Bad socket read/write on client acme:w: Unknown error.", Disconnected(7, "acme:w", "CONNECTION_LOST")),
        ("Client acme:w already connected, closing old connection.", TakenOver(7, "acme:w")),
        ("acme:w 1 dt/milkrun/+/telemetry", Subscribed(7, "acme:w", "dt/milkrun/+/telemetry")),
        ("acme:w 0 Client x disconnected.", Subscribed(7, "acme:w", "Client x disconnected.")),
        ("Outgoing messages are being dropped for client ingest.", Dropping(7, "ingest")),
        ("mosquitto version 2.0.11 starting", Started(7)),
    ],
)
def test_each_line_of_mosquitto_that_matters_is_read(text: str, signal: Signal) -> None:
    assert parse(f"7: {text}") == signal


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no stamp",
        "7: New connection from 127.0.0.1:60818 on port 44559.",
        "7: Saving in-memory database to /x/mosquitto.db.",
        '7: Invalid protocol "',
        '7: a " in CONNECT from 127.0.0.1.',
        "7: Client acme:w did something new.",
    ],
)
def test_other_lines_say_nothing(line: str) -> None:
    assert parse(line) is None


def test_the_tail_gives_whole_lines_once_and_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "log"
    tail = LogTail(file)
    assert list(tail.read()) == []
    file.write_text("1: a\n2: b\n3: ha")
    assert [line.text for line in tail.read()] == ["1: a", "2: b"]
    with file.open("a") as log:
        log.write("lf\n")
    log_id, offset = tail.position
    assert [line.text for line in tail.read()] == ["3: half"]
    again = LogTail(file, log=log_id, offset=offset)
    assert [line.text for line in again.read()] == ["3: half"]


def test_a_new_log_of_the_same_name_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("1: old\n")
    tail = LogTail(file)
    list(tail.read())
    file.rename(tmp_path / "kept")
    file.write_text("2: new\n")
    assert [line.text for line in tail.read()] == ["2: new"]


def test_freed_space_costs_no_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("w") as log:
        log.writelines(f"{n}: line\n" for n in range(100_000))
        log.flush()
        tail = LogTail(file)
        while list(tail.read()):
            pass
        before = file.stat().st_blocks
        tail.free(tail.position[1], step=1 << 16)
        log.write("100000: the next\n")
    assert [line.text for line in tail.read()] == ["100000: the next"]
    if signals.sys.platform.startswith("linux"):
        assert file.stat().st_blocks < before
