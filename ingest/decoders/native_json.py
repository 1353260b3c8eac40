"""Milkrun's own samples as JSON: one object, or an array of them."""

import msgspec

from core.telemetry import Sample
from ingest.decoders.plain import (
    MAX_SAMPLES,
    NO_REJECTIONS,
    Decoded,
    Name,
    Payload,
    check_count,
    collect,
    parse_json,
    sample_of,
)
from ingest.reasons import Reject

_decode = msgspec.json.Decoder(Sample | list[Sample]).decode
_decode_one = msgspec.json.Decoder(Sample).decode
_decode_name = msgspec.json.Decoder(Name).decode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode(payload: Payload, max_samples: int = MAX_SAMPLES) -> Decoded:
    """Raises Reject if no part of the message is a sample."""
    try:
        got = _decode(payload)
    except (ValueError, RecursionError):
        return _explain(payload, max_samples)
    if type(got) is Sample:
        return [got], NO_REJECTIONS
    check_count(got, max_samples)
    return got, NO_REJECTIONS


def _explain(payload: Payload, max_samples: int) -> Decoded:
    """The slow path: keep what can be kept, say exactly what is wrong with the rest."""
    try:
        parts = _split(payload)
    except (ValueError, RecursionError):
        return [_read_slowly(payload)], NO_REJECTIONS
    return collect(parts, _read, bytes, max_samples)


def _read(part: msgspec.Raw) -> Sample:
    raw = memoryview(part)
    try:
        return _decode_one(raw)
    except (ValueError, RecursionError):
        return _read_slowly(raw)


def _read_slowly(raw: Payload) -> Sample:
    try:
        return sample_of(parse_json(raw))
    except Reject as reject:
        try:
            name = _decode_name(raw)
        except (ValueError, RecursionError):
            raise reject from None
        raise reject.named(name.boot, name.seq) from None
