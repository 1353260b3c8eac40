"""The OsmAnd query string, as older phones and many trackers send it, as payload text; speed in knots.

Traccar Client 9 says it in JSON on the same path; that is read by `ingest.decoders.traccar`.
"""

from urllib.parse import parse_qsl

from core.telemetry import Position, Sample, Scalar
from ingest.decoders import traccar
from ingest.decoders.plain import (
    MAX_SAMPLES,
    NO_REJECTIONS,
    Decoded,
    Fields,
    Payload,
    coordinates,
    epoch_ms,
    known,
    scalar_from_text,
)
from ingest.reasons import Reason, Reject

_MPS_PER_KNOT = 1852 / 3600
_MAX_PARAMETERS = 128
_METRIC_NAMES = {"batt": "battery_pct", "odometer": "odometer_m"}


def decode(payload: Payload, max_samples: int = MAX_SAMPLES) -> Decoded:
    """A JSON object, or a query string such as `id=17&timestamp=1790000000&lat=47.1&lon=9.5`. Raises Reject."""
    head = bytes(payload[:32]).lstrip()
    if not head or head[:1] in b'{["':
        return traccar.decode(payload, max_samples)
    return [_sample(Fields(_parameters(payload)))], NO_REJECTIONS


def _sample(fields: Fields) -> Sample:
    timestamp = fields.take("timestamp")
    if timestamp is None:
        raise Reject(Reason.MISSING_TS, "timestamp is missing: seconds, milliseconds or ISO 8601")
    # The certificate says who sends; the app's own idea of it is not needed.
    fields.drop("id", "deviceid")
    pos = _position(fields)
    metrics: dict[str, Scalar] = {}
    for short, name in _METRIC_NAMES.items():
        value = known(fields.number(short))
        if value is not None:
            metrics[name] = value
    fields.metrics(metrics)
    return Sample(ts=epoch_ms(timestamp, "timestamp"), pos=pos, m=metrics or None)


def _position(fields: Fields) -> Position | None:
    """The fix; `valid=false` marks the last known place, which is no measurement."""
    lat, lon = fields.number("lat"), fields.number("lon")
    both = fields.text("location")
    if both is not None:
        lat, lon = coordinates(both, "location")
    knots, bearing, heading = (known(fields.number(name)) for name in ("speed", "bearing", "heading"))
    alt, acc, hdop = fields.number("altitude"), known(fields.number("accuracy")), known(fields.number("hdop"))
    is_fix = fields.flag("valid") is not False
    if (lat is None) is not (lon is None):
        raise Reject(Reason.MISSING_FIELD, "lat or lon is missing: a position has both")
    if lat is None or lon is None or not is_fix:
        return None
    return Position(
        lat=lat,
        lon=lon,
        alt=alt,
        speed=None if knots is None else round(knots * _MPS_PER_KNOT, 3),
        heading=heading if bearing is None else bearing,
        acc=acc,
        hdop=hdop,
    )


def _parameters(payload: Payload) -> dict[str, object]:
    """What reads as a number or a boolean is made one; the path before a `?` does not matter."""
    try:
        text = bytes(payload).decode().strip().rpartition("?")[2]
        pairs = parse_qsl(text, strict_parsing=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise Reject(
            Reason.MALFORMED, f"neither JSON nor a query string of at most {_MAX_PARAMETERS} parameters: {error}"
        ) from error
    return {name: scalar_from_text(value) for name, value in pairs}
