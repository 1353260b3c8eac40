"""Packets to bytes and back, and every way of getting bytes that are none."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.mqtt import codec
from core.mqtt.client import ConnectOptions, Message, MqttConnection

protocols = st.sampled_from([4, 5])
topics = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=40)
messages = st.lists(
    st.tuples(topics, st.binary(max_size=300), st.integers(0, 65_535), st.booleans(), st.booleans()),
    min_size=1,
    max_size=8,
)


@given(st.integers(0, codec.MAX_REMAINING_LENGTH))
def test_a_variable_byte_integer_reads_as_it_was_written(value):
    raw = codec.varint(value)
    assert 1 <= len(raw) <= 4
    assert codec.read_varint(raw + b"\xff", 0) == (value, len(raw))


def test_a_variable_byte_integer_of_five_bytes_is_malformed_and_a_cut_one_is_short():
    with pytest.raises(codec.MalformedPacket):
        codec.read_varint(b"\x80\x80\x80\x80\x01", 0)
    with pytest.raises(IndexError):
        codec.read_varint(b"\x80\x80", 0)


class Wire:
    """A transport that keeps what was written and says when it was dropped."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    close = abort


def connection(protocol: int, got: list[Message]) -> tuple[MqttConnection, Wire]:
    options = ConnectOptions(host="h", port=1, client_id="c", tls=None, protocol=protocol, keepalive_s=0)
    made, wire = MqttConnection(options, got.append), Wire()
    made.connection_made(wire)
    wire.written = b""
    return made, wire


def feed(made: MqttConnection, data: bytes) -> None:
    while data:
        room = made.get_buffer(-1)
        size = min(len(room), len(data))
        room[:size] = data[:size]
        made.buffer_updated(size)
        data = data[size:]


def packets(protocol: int, contents) -> tuple[bytes, list[Message]]:
    raw, wanted = b"", []
    for topic, payload, packet_id, retain, is_second in contents:
        packet = codec.publish(topic, payload, packet_id=packet_id, protocol=protocol, retain=retain)
        is_again = is_second and packet_id > 0
        raw += bytes([packet[0] | 0x08]) + packet[1:] if is_again else packet
        wanted.append(Message(topic.encode(), payload, packet_id, is_again))
    return raw, wanted


@given(protocols, messages)
async def test_what_is_published_is_what_is_heard(protocol, contents):
    got: list[Message] = []
    made, _ = connection(protocol, got)
    raw, wanted = packets(protocol, contents)
    feed(made, raw)
    assert got == wanted


@given(protocols, messages, st.data())
async def test_packets_cut_anywhere_give_the_same_messages(protocol, contents, data):
    raw, wanted = packets(protocol, contents)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=20)))
    got: list[Message] = []
    made, _ = connection(protocol, got)
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        feed(made, raw[start:end])
    assert got == wanted


@pytest.mark.parametrize("protocol", [4, 5])
async def test_packets_cut_at_every_single_byte_boundary_give_the_same_messages(protocol):
    contents = [("a/b", b"x" * n, n, False, n % 2 == 1) for n in (0, 1, 126, 127, 128, 300)]
    raw, wanted = packets(protocol, contents)
    for cut in range(len(raw) + 1):
        got: list[Message] = []
        made, _ = connection(protocol, got)
        feed(made, raw[:cut])
        feed(made, raw[cut:])
        assert got == wanted, cut
    got = []
    made, _ = connection(protocol, got)
    for n in range(len(raw)):
        feed(made, raw[n : n + 1])
    assert got == wanted


async def test_a_message_larger_than_every_buffer_comes_through_whole():
    got: list[Message] = []
    made, _ = connection(5, got)
    raw, wanted = packets(5, [("big", b"x" * 3_000_000, 1, False, False), ("after", b"y", 2, False, False)])
    for start in range(0, len(raw), 65_536):
        feed(made, raw[start : start + 65_536])
    assert got == wanted


@pytest.mark.parametrize(
    "raw",
    [
        b"\x30\xff\xff\xff\xff\x01",  # remaining length of five bytes
        b"\x32\x03\x00\x05a",  # topic longer than the packet
        b"\x32\x03\x00\x01a",  # QoS 1 without a packet id
        b"\x30\x01\x00",  # no whole topic length
        b"\x40\x01\x00",  # PUBACK cut short
        b"\x40\x00",
        b"\x20\x00",  # CONNACK without its flags
        b"\x90\x01\x00",  # SUBACK without its id
        b"\x90\x00",
        b"\x20\x05\x00\x00\x02\x7e\x00",  # a property that does not exist
    ],
)
async def test_bytes_that_are_no_mqtt_end_the_connection_and_reach_nobody(raw):
    got: list[Message] = []
    made, wire = connection(5, got)
    feed(made, raw + b"\x30\x04\x00\x01a\x00" * 3)
    assert wire.closed, "it went on after malformed bytes"
    assert got == []
    assert made.lost.done()


@given(protocols, st.binary(max_size=400))
async def test_no_bytes_from_a_broker_do_anything_but_end_the_connection(protocol, raw):
    made, wire = connection(protocol, [])
    made._slots = asyncio.Semaphore(1)
    feed(made, raw)
    if wire.closed:
        assert isinstance(made.lost.exception(), Exception)


@given(st.dictionaries(st.sampled_from([0x11, 0x21, 0x22, 0x24, 0x27]), st.integers(0, 255)), st.text(max_size=20))
def test_numeric_properties_are_read_and_strings_skipped(numbers, reason):
    body = b"".join(
        bytes([identifier]) + value.to_bytes({0x11: 4, 0x27: 4, 0x24: 1}.get(identifier, 2))
        for identifier, value in numbers.items()
    )
    body += b"\x1f" + codec.text(reason) + b"\x26" + codec.text("k") + codec.text(reason)
    found, end = codec.properties(codec.varint(len(body)) + body, 0)
    assert (found, end) == (numbers, len(body) + len(codec.varint(len(body))))


@given(st.lists(st.integers(1, 65_535), max_size=50))
def test_acknowledgements_are_one_run_in_the_order_given(ids):
    raw = codec.pubacks(ids)
    assert [struct.unpack(">HH", raw[n : n + 4]) for n in range(0, len(raw), 4)] == [(0x4002, i) for i in ids]


def test_connect_carries_the_will_and_the_windows():
    raw = codec.connect(
        protocol=5, client_id="c", keepalive_s=7, clean_start=False, session_expiry_s=9, receive_maximum=11,
        will=("w", b"gone", 1, True),
    )  # fmt: skip
    properties = b"\x11\x00\x00\x00\x09\x21\x00\x0b"
    will = b"\x00\x00\x01w\x00\x04gone"
    assert raw[2:] == b"\x00\x04MQTT\x05\x2c\x00\x07" + bytes([len(properties)]) + properties + b"\x00\x01c" + will
