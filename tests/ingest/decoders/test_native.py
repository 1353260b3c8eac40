"""JSON and CBOR, the formats that are ours: what the golden files are too large or too many for."""

import json

import cbor2
import pytest

from core.topics import Format
from ingest.decoders import DECODERS
from ingest.decoders.plain import MAX_DEPTH, MAX_SINGLE_REJECTIONS
from ingest.reasons import Reason, Reject, Rejection

NATIVE = pytest.mark.parametrize(
    ("decode", "encode"),
    [
        pytest.param(DECODERS[Format.JSON], lambda value: json.dumps(value).encode(), id="json"),
        pytest.param(DECODERS[Format.CBOR], cbor2.dumps, id="cbor"),
    ],
)
TS = 1_790_000_000_000


def refusal(decode, payload: bytes, *limits: int) -> Rejection:
    with pytest.raises(Reject) as caught:
        decode(payload, *limits)
    return caught.value.rejection


@NATIVE
def test_a_bad_sample_costs_only_itself_and_is_kept_alone(decode, encode):
    bad = {"ts": TS, "boot": "b", "seq": 2, "pos": {"lat": "47", "lon": 9.5}}
    samples, rejected = decode(encode([{"ts": TS, "seq": 1}, bad, {"ts": TS, "seq": 3}]))
    assert [sample.seq for sample in samples] == [1, 3]
    assert [(one.reason, one.boot, one.seq, one.payload) for one in rejected] == [
        (Reason.BAD_TYPE, "b", 2, encode(bad)),
    ]
    # What is kept is refused again in the same way, so a dead letter can be replayed.
    again = refusal(decode, encode(bad))
    assert (again.reason, f"[1] {again.detail}") == (rejected[0].reason, rejected[0].detail)


@NATIVE
def test_a_good_sample_after_hundreds_of_bad_ones_still_lands(decode, encode):
    samples, rejected = decode(encode([{"seq": n} for n in range(500)] + [{"ts": TS, "seq": 500}]))
    assert [sample.seq for sample in samples] == [500]
    assert len(rejected) == MAX_SINGLE_REJECTIONS + 1
    assert rejected[-1].payload is None
    assert rejected[-1].detail.startswith("400 more samples are wrong")


@NATIVE
def test_more_samples_than_allowed_are_refused_good_or_bad(decode, encode):
    assert len(decode(encode([{"ts": TS}] * 7), 7)[0]) == 7
    assert refusal(decode, encode([{"ts": TS}] * 8), 7).reason is Reason.TOO_MANY_SAMPLES
    assert refusal(decode, encode([{"ts": "x"}] * 8), 7).reason is Reason.TOO_MANY_SAMPLES


@NATIVE
def test_the_deepest_nesting_allowed_is_read_and_one_more_is_not(decode, encode):
    def nested(depth: int) -> list:
        return [nested(depth - 1)] if depth > 1 else []

    inside = MAX_DEPTH - 1
    assert refusal(decode, encode({"ts": TS, "x": nested(inside)})).reason is Reason.UNKNOWN_FIELD
    assert refusal(decode, encode({"ts": TS, "x": nested(inside + 1)})).reason is Reason.TOO_DEEP


@pytest.mark.parametrize(
    ("fmt", "payload"),
    [
        (Format.JSON, b"[" * 131_072),
        (Format.JSON, b"[" * 65_536 + b"]" * 65_536),
        (Format.JSON, b'{"ts":1,"x":' * 10_000),
        (Format.JSON, b'{"ts":1,"x":' + b"[" * 60_000 + b"]" * 60_000 + b"}"),
        (Format.CBOR, b"\x81" * 131_072),
        (Format.CBOR, b"\xa1\x61a" * 40_000),
        (Format.CBOR, b"\x9f" * 131_072),
        (Format.OWNTRACKS, b"[" * 131_072),
        (Format.OSMAND, b'{"location":' * 10_000),
        (Format.TELTONIKA, b'{"state":' * 10_000),
    ],
    ids=lambda value: value.name if isinstance(value, Format) else f"{len(value)}-bytes",
)
def test_a_depth_bomb_is_refused_as_too_deep(fmt: Format, payload: bytes):
    assert refusal(DECODERS[fmt], payload).reason is Reason.TOO_DEEP


@pytest.mark.parametrize("digits", [20, 309, 5_000, 100_000])
@pytest.mark.parametrize("field", ["ts", "seq", "lat", "sats", "metric", "unknown"])
def test_an_integer_of_any_length_is_refused_as_out_of_range(field: str, digits: int):
    values = dict.fromkeys(("ts", "seq", "lat", "sats", "metric", "unknown"), "1") | {field: "9" * digits}
    payload = (
        '{{"ts":{ts},"seq":{seq},"pos":{{"lat":{lat},"lon":2,"sats":{sats}}},"m":{{"n":{metric}}},"u":{unknown}}}'
    ).format(**values)
    assert refusal(DECODERS[Format.JSON], payload.encode()).reason is Reason.OUT_OF_RANGE


def test_what_a_refusal_says_can_be_stored_as_text_whatever_the_device_sent():
    payload = json.dumps({"ts": TS, "\x00\x1b[31m\u202e" * 500: []}).encode()
    detail = refusal(DECODERS[Format.JSON], payload).detail
    assert detail.isprintable()
    assert len(detail) <= 400


def test_a_name_that_could_not_be_stored_is_not_passed_on_with_the_refusal():
    for boot, seq in (("\x00", 1), ("x" * 65, 1), ("ok", -1), ("ok", 2**53), (7, 1)):
        found = refusal(DECODERS[Format.JSON], json.dumps({"boot": boot, "seq": seq}).encode())
        assert (found.boot, found.seq) == ("", None)
