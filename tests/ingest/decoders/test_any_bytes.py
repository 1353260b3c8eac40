"""No bytes whatsoever make a decoder raise anything but Reject, and what it gives is always sound."""

import json
import math

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.settings import IngestSettings
from core.telemetry import Position, Sample
from core.topics import Format
from ingest.decoders import DECODERS, event
from ingest.reasons import Reject, Rejection
from ingest.validate import check
from tests.ingest.decoders.golden import load

GOLDENS = {fmt: [golden.payload for golden in load() if golden.format is fmt] for fmt in Format}
LIMITS = IngestSettings()
NOW_MS = 1_790_000_000_000
# The same examples in every run, and no clock: a slow machine is no defect.
FUZZ = settings(derandomize=True, deadline=None, database=None, max_examples=200)
EVERY_FORMAT = pytest.mark.parametrize("fmt", Format)

WORDS = (
    *("ts", "boot", "seq", "pos", "m", "lat", "lon", "alt", "speed", "heading", "acc", "sats", "hdop"),
    *("_type", "tst", "batt", "vel", "inregions", "location", "timestamp", "coords", "latitude", "longitude"),
    *("battery", "level", "activity", "extras", "state", "reported", "latlng", "sat", "sp", "239", "66", "181", "69"),
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**80), max_value=2**80)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["location", "transition", "47.1,9.5", "2025-06-15T13:45:12.862Z", "\x00", NOW_MS, 1e308])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=20,
)


def judge(fmt: Format, payload: bytes) -> None:
    """Decode and validate as the pipeline does; anything but Reject escapes and fails the test."""
    try:
        samples, rejected = DECODERS[fmt](payload)
    except Reject as reject:
        assert_storable(reject.rejection)
        return
    assert samples or rejected
    for sample in samples:
        assert type(sample) is Sample
        # Round trip: a value of a wrong type inside would not survive strict decoding.
        msgspec.convert(msgspec.to_builtins(sample), Sample)
        verdict = check(sample, NOW_MS, LIMITS)
        if verdict is None:
            assert_sound(sample)
        else:
            assert_storable(verdict)
    for rejection in rejected:
        assert_storable(rejection)


def assert_storable(rejection: Rejection) -> None:
    assert rejection.detail
    assert rejection.detail.isprintable()
    rejection.detail.encode()
    assert "\0" not in rejection.boot


def assert_sound(sample: Sample) -> None:
    """What passed can be written: text without NUL that encodes, finite numbers that fit their columns."""
    texts = [sample.boot, *(sample.m or {}), *(value for value in (sample.m or {}).values() if isinstance(value, str))]
    assert not any("\0" in text for text in texts)
    assert all(text.encode() is not None for text in texts)
    numbers = [value for value in (sample.m or {}).values() if isinstance(value, int | float)]
    if sample.pos is not None:
        numbers += [value for name in Position.__struct_fields__ if (value := getattr(sample.pos, name)) is not None]
    assert all(math.isfinite(number) for number in numbers)
    assert all(abs(number) < 2**63 for number in numbers if isinstance(number, int))
    assert sample.seq is None or 0 <= sample.seq < 2**53


@EVERY_FORMAT
@FUZZ
@given(payload=st.binary(max_size=300))
def test_random_bytes(fmt: Format, payload: bytes):
    judge(fmt, payload)


@EVERY_FORMAT
@FUZZ
@given(value=VALUES)
def test_random_json(fmt: Format, value: object):
    judge(fmt, json.dumps(value).encode())


@FUZZ
@given(value=VALUES)
def test_random_cbor(value: object):
    judge(Format.CBOR, cbor2.dumps(value))


@EVERY_FORMAT
@FUZZ
@given(data=st.data())
def test_damaged_payloads_from_the_field(fmt: Format, data: st.DataObject):
    payload = bytearray(data.draw(st.sampled_from(GOLDENS[fmt])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload)))
        cut = data.draw(st.integers(0, 8))
        payload[at : at + cut] = data.draw(
            st.binary(max_size=8) | st.sampled_from([b'"', b"[", b"{", b"1e999", b"\xff"])
        )
    judge(fmt, bytes(payload))


@pytest.mark.parametrize("fmt", [Format.JSON, Format.OWNTRACKS, Format.OSMAND, Format.TELTONIKA])
@FUZZ
@given(data=st.data())
def test_payloads_from_the_field_with_a_value_of_another_kind_somewhere(fmt: Format, data: st.DataObject):
    whole = json.loads(data.draw(st.sampled_from(_parsable(GOLDENS[fmt]))))
    judge(fmt, json.dumps(_with_another_value(whole, data)).encode())


def _parsable(payloads: list[bytes]) -> list[bytes]:
    return [payload for payload in payloads if payload[:1] in {b"{", b"["} and _is_json(payload)]


def _is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except ValueError:
        return False
    return True


def _with_another_value(value: object, data: st.DataObject) -> object:
    """`value` with one of the values inside it, or itself, replaced by anything."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        value[key] = _with_another_value(value[key], data)
        return value
    return data.draw(VALUES)


@FUZZ
@given(payload=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_random_events(payload: bytes):
    try:
        event.decode(payload)
    except Reject as reject:
        assert_storable(reject.rejection)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
INT64 = st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)
OPTIONAL = st.none() | FINITE
SAMPLES = st.builds(
    Sample,
    ts=INT64,
    boot=st.text(max_size=8),
    seq=st.none() | INT64,
    pos=st.none()
    | st.builds(
        Position,
        lat=FINITE,
        lon=FINITE,
        alt=OPTIONAL,
        speed=OPTIONAL,
        heading=OPTIONAL,
        acc=OPTIONAL,
        sats=st.none() | INT64,
        hdop=OPTIONAL,
    ),
    m=st.none()
    | st.dictionaries(st.text(max_size=8), st.booleans() | INT64 | FINITE | st.text(max_size=8), max_size=5),
)


@FUZZ
@given(samples=st.lists(SAMPLES, min_size=1, max_size=4))
def test_json_and_cbor_say_the_same(samples: list[Sample]):
    plain = msgspec.to_builtins(samples)
    from_json = DECODERS[Format.JSON](msgspec.json.encode(samples))
    from_cbor = DECODERS[Format.CBOR](cbor2.dumps(plain))
    assert from_json == from_cbor == (samples, ())


@FUZZ
@given(samples=st.lists(SAMPLES, min_size=1, max_size=4), name=st.text(min_size=1, max_size=8).filter("ts".__ne__))
def test_the_slow_path_reads_what_the_fast_path_reads(samples: list[Sample], name: str):
    """An unknown null field forces the slow path and changes nothing."""
    plain = msgspec.to_builtins(samples)
    for sample in plain:
        sample.setdefault(name, None)
    slow, rejected = DECODERS[Format.JSON](json.dumps(plain).encode())
    assert not rejected
    assert [msgspec.structs.replace(sample, m=sample.m or None) for sample in samples] == slow
