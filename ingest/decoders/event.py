"""Discrete events on a device's event topic, always JSON: `{"ts", "type", "boot", "seq", "data"}`."""

import msgspec

from core.telemetry import DeviceEvent
from ingest.decoders.plain import Fields, Payload, parse_json, storable
from ingest.reasons import Reason, Reject

MAX_TYPE_CHARS = 64

_decode = msgspec.json.Decoder(DeviceEvent).decode


def decode(payload: Payload) -> DeviceEvent:
    """Form only; `ingest.validate.check` judges time, boot and seq. Raises Reject."""
    value = parse_json(payload)
    try:
        event = _decode(payload)
    except msgspec.ValidationError as error:
        if Fields(value, "an event").take("ts") is None:
            raise Reject(Reason.MISSING_TS, "ts is missing: milliseconds since 1970 UTC of the event") from error
        raise Reject(Reason.BAD_TYPE, f"an event is {{ts, type, boot, seq, data}}: {error}") from error
    if not (1 <= len(event.type) <= MAX_TYPE_CHARS and event.type.isprintable()):
        raise Reject(Reason.BAD_TEXT, f"type has 1 to {MAX_TYPE_CHARS} printable characters, not {event.type[:80]!r}")
    storable(event.data)
    return event
