"""Teltonika trackers' Codec JSON over MQTT (https://wiki.teltonika-gps.com/view/Codec_JSON), AVL ids as field names."""

import msgspec

from core.telemetry import Position, Sample, Scalar
from ingest.decoders.plain import (
    MAX_SAMPLES,
    NO_REJECTIONS,
    Decoded,
    Fields,
    Payload,
    collect,
    coordinates,
    mps_from_kmh,
    parse_json,
)
from ingest.reasons import Reason, Reject

_FLAGS = {"239": "ignition", "240": "movement"}
_SCALED = {  # AVL id: metric, and how many of the tracker's units make one of ours
    "66": ("external_voltage_v", 1000),
    "67": ("battery_voltage_v", 1000),
    "68": ("battery_current_a", 1000),
    "181": ("pdop", 10),
}
_PLAIN = {
    "evt": "event_id",  # the AVL id whose change made the tracker send
    "pr": "priority",  # 0 low, 1 high, 2 panic
    "16": "odometer_m",
    "21": "gsm_signal",  # 0 to 5
    "69": "gnss_status",  # 0 off, 1 fix, 2 no fix, 3 sleep
    "78": "ibutton",  # the driver's key, hexadecimal text
    "200": "sleep_mode",
    "241": "operator",
}
_GNSS_FIX = 1


def decode(payload: Payload, max_samples: int = MAX_SAMPLES) -> Decoded:
    """One record or an array of them, bare or inside `state.reported`. Raises Reject."""
    value = parse_json(payload)
    if isinstance(value, dict) and "state" in value:
        state = Fields(value).fields("state")
        value = None if state is None else state.take("reported")
        if value is None:
            raise Reject(Reason.MISSING_FIELD, "state.reported is missing")
    if isinstance(value, list):
        return collect(value, _sample, msgspec.json.encode, max_samples)
    return [_sample(value)], NO_REJECTIONS


def _sample(record: object) -> Sample:
    fields = Fields(record)
    ts = fields.integer("ts")
    if ts is None:
        raise Reject(Reason.MISSING_TS, "ts is missing: milliseconds since 1970 UTC of the record")
    metrics: dict[str, Scalar] = {}
    for avl_id, name in _FLAGS.items():
        flag = fields.flag(avl_id)
        if flag is not None:
            metrics[name] = flag
    for avl_id, (name, units) in _SCALED.items():
        number = fields.number(avl_id)
        if number is not None:
            metrics[name] = number / units
    for key, name in _PLAIN.items():
        value = fields.take(key)
        if value is not None:
            Fields({name: value}).metrics(metrics, known=True)
    pos = _position(fields, metrics)
    return Sample(ts=ts, pos=pos, m=_with_rest(fields, metrics) or None)


def _position(fields: Fields, metrics: dict[str, Scalar]) -> Position | None:
    """The fix; without one (no satellites, or the GNSS status says so) the last known place is no measurement."""
    latlng, sats, hdop = fields.text("latlng"), fields.integer("sat"), fields.number("182")
    alt, heading, speed = fields.number("alt"), fields.number("ang"), mps_from_kmh(fields.number("sp"))
    hdop = None if hdop is None else hdop / 10
    if latlng and sats != 0 and metrics.get("gnss_status", _GNSS_FIX) == _GNSS_FIX:
        lat, lon = coordinates(latlng, "latlng")
        return Position(lat=lat, lon=lon, alt=alt, speed=speed, heading=heading, sats=sats, hdop=hdop)
    if sats is not None:
        metrics["sats"] = sats
    return None


def _with_rest(fields: Fields, metrics: dict[str, Scalar]) -> dict[str, Scalar]:
    rest: dict[str, Scalar] = {}
    fields.metrics(rest)
    for name, value in rest.items():
        metric = f"avl_{name}" if name.isdigit() else name
        if metric in metrics:
            raise Reject(Reason.UNKNOWN_FIELD, f"{name}: the sample has a metric {metric!r} already")
        metrics[metric] = value
    return metrics
