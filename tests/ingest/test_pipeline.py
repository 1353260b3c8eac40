"""The steps before a batch: whatever bytes come, there is a verdict, and never an exception."""

import json
import time

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import topics
from core.mqtt import Message
from core.settings import IngestSettings
from core.tenancy import Thing
from ingest.gate import Registry
from ingest.pipeline import PIPELINE, Context, Inflight, Unidentified, run
from ingest.reasons import MAX_DETAIL_CHARS, Reason

NOW_MS = 1_790_000_000_000
TRUCK = "acme:truck-1"


class Nobody:
    def ack(self, packet_ids): ...
    def pause(self): ...
    def resume(self): ...


def context(status: str | None = "active", **limits) -> Context:
    config = IngestSettings(**limits)
    known = Context(config, Registry(config))
    known.registry.add(Thing.parse(TRUCK), status=status, has_tenant=True, partition=0, now_s=time.monotonic())
    return known


KNOWN = context(device_burst=10**9, device_rate=1e6, tenant_burst=10**9, tenant_rate=1e6)


def through(topic: bytes | str, payload: bytes, within: Context = KNOWN) -> Inflight:
    message = Message(topic.encode() if isinstance(topic, str) else topic, payload, 1)
    flight = Inflight(message, Nobody(), NOW_MS, time.monotonic())
    run(flight, within)
    return flight


own = st.sampled_from([topics.telemetry(TRUCK, fmt).encode() for fmt in topics.Format] + [topics.event(TRUCK).encode()])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
samples = st.fixed_dictionaries(
    {"ts": st.sampled_from([NOW_MS, NOW_MS - 1, 0, -1, 2**63 - 1, "x"])},
    optional={
        "boot": st.text(max_size=4) | values,
        "seq": st.integers() | values,
        "pos": st.fixed_dictionaries({"lat": values, "lon": values}) | values,
        "m": values,
        "x": values,
    },
)


def json_bytes(value) -> bytes:
    # The standard library's writes NaN and Infinity, as careless devices do.
    return json.dumps(value).encode("utf-8", "replace")


payloads = st.one_of(
    st.binary(max_size=200),
    values.map(json_bytes),
    samples.map(json_bytes),
    st.lists(samples, max_size=4).map(json_bytes),
    samples.map(lambda value: cbor2.dumps(value) if "x" not in value else b"\xa1"),
)


@given(own, payloads)
@settings(max_examples=400, deadline=None)
def test_any_payload_gets_a_verdict_that_can_be_kept(topic, payload):
    flight = through(topic, payload)
    assert flight.samples or flight.event or flight.rejected
    for verdict in flight.rejected:
        assert isinstance(verdict.reason, Reason)
        assert len(verdict.detail) <= MAX_DETAIL_CHARS
        assert verdict.detail.isprintable()
    for sample in flight.samples:
        assert msgspec.json.decode(msgspec.json.encode(sample), type=type(sample)) == sample


@given(st.binary(max_size=100) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace")))
@settings(deadline=None)
def test_any_topic_gets_a_verdict(topic):
    assert [verdict.reason for verdict in through(topic, b"{}").rejected] == [Reason.BAD_TOPIC]


def test_the_steps_stand_in_the_order_in_which_they_are_told():
    names = [step.__name__ for step in PIPELINE]
    assert names == ["parse_topic", "identify", "decode", "validate", "throttle"]


def test_one_nobody_asked_about_yet_is_left_for_the_batch_to_identify():
    with pytest.raises(Unidentified):
        through(topics.telemetry("acme:other"), b"{}")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (None, Reason.UNKNOWN_THING),
        ("pending", Reason.INACTIVE_THING),
        ("suspended", Reason.INACTIVE_THING),
        ("decommissioned", Reason.INACTIVE_THING),
    ],
)
def test_only_an_active_device_gets_past_the_gate(status, reason):
    flight = through(topics.telemetry(TRUCK), b'{"ts": 1790000000000}', context(status))
    assert [verdict.reason for verdict in flight.rejected] == [reason]
    assert not flight.samples


def test_a_throttled_message_is_refused_whole_under_the_names_of_its_samples():
    within = context(device_rate=0.001, device_burst=1)
    body = msgspec.json.encode([{"ts": NOW_MS + n, "boot": "b", "seq": n} for n in range(4)])
    assert len(through(topics.telemetry(TRUCK), body, within).samples) == 4
    flight = through(topics.telemetry(TRUCK), body, within)
    assert not flight.samples
    assert [(v.reason, v.boot, v.seq) for v in flight.rejected] == [(Reason.THROTTLED_DEVICE, "b", 0)]
    assert flight.refused == [("b", 1), ("b", 2), ("b", 3)]


def test_a_message_beyond_the_limits_is_refused_before_it_is_read():
    within = context(max_payload_bytes=256, max_samples=3)
    huge = through(topics.telemetry(TRUCK), b"[" * 257, within)
    assert [verdict.reason for verdict in huge.rejected] == [Reason.TOO_LARGE]
    many = through(topics.telemetry(TRUCK), msgspec.json.encode([{"ts": NOW_MS + n} for n in range(4)]), within)
    assert [verdict.reason for verdict in many.rejected] == [Reason.TOO_MANY_SAMPLES]
    assert not many.samples


def test_basic_ingest_is_the_same_topic():
    body = b'{"ts": 1790000000000, "boot": "b", "seq": 1}'
    plain, basic = (through(f"{prefix}dt/milkrun/{TRUCK}/telemetry", body) for prefix in ("", "$aws/rules/any/"))
    assert list(plain.samples) == list(basic.samples) != []
