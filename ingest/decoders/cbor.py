"""Milkrun's own samples as CBOR (RFC 8949): the same shape as the JSON, without tags."""

import io
from typing import Any, Never

import cbor2
import msgspec

from core.telemetry import Sample
from ingest.decoders.plain import (
    MAX_DEPTH,
    MAX_SAMPLES,
    NO_REJECTIONS,
    Decoded,
    Name,
    Payload,
    check_count,
    collect,
    sample_of,
)
from ingest.reasons import Reason, Reject

# Every tag cbor2 would act on but the one that says "this is CBOR": dates, bignums, regular expressions, MIME
# messages, shared references. A sample needs none, and some of them cost far more than their bytes.
_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000)


_SHAPE: Any = Sample | list[Sample]


def _refuse_tag(*_: object) -> Never:
    raise Reject(Reason.BAD_TYPE, "tagged values are not taken: send plain numbers and text")


_LIMITS: dict[str, Any] = {
    "max_depth": MAX_DEPTH,
    "allow_duplicate_keys": False,
    "strict_hashable_types": True,
    "semantic_decoders": dict.fromkeys(_TAGS, _refuse_tag),
    "tag_hook": _refuse_tag,
}


def decode(payload: Payload, max_samples: int = MAX_SAMPLES) -> Decoded:
    """Raises Reject if no part of the message is a sample."""
    value = _parse(payload)
    try:
        got: Sample | list[Sample] = msgspec.convert(value, _SHAPE)
    except ValueError:
        if isinstance(value, list):
            return collect(value, _read_slowly, cbor2.dumps, max_samples)
        return [_read_slowly(value)], NO_REJECTIONS
    if isinstance(got, Sample):
        return [got], NO_REJECTIONS
    check_count(got, max_samples)
    return got, NO_REJECTIONS


def _read_slowly(value: object) -> Sample:
    try:
        return sample_of(value)
    except Reject as reject:
        try:
            name = msgspec.convert(value, Name)
        except ValueError:
            raise reject from None
        raise reject.named(name.boot, name.seq) from None


def _parse(payload: Payload) -> object:
    if not payload:
        raise Reject(Reason.EMPTY, "the payload has no bytes")
    stream = io.BytesIO(payload)
    try:
        value: object = cbor2.CBORDecoder(stream, **_LIMITS).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        if isinstance(error.__cause__, Reject):
            raise error.__cause__ from None
        reason = Reason.TOO_DEEP if "nesting depth" in str(error) else Reason.MALFORMED
        hint = "; this looks like JSON, which has a topic of its own" if bytes(payload[:1]) in {b"{", b"["} else ""
        raise Reject(reason, f"CBOR: {error}{hint}") from error
    if stream.read(1):
        raise Reject(Reason.MALFORMED, "CBOR: bytes follow the first value; send several samples as an array")
    return value
