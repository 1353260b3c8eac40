"""Traccar Client 9 (https://www.traccar.org/client/) and apps on the same location library: m/s, ISO 8601 times."""

import msgspec

from core.telemetry import Position, Sample, Scalar
from ingest.decoders.plain import (
    MAX_SAMPLES,
    NO_REJECTIONS,
    Decoded,
    Fields,
    Payload,
    collect,
    epoch_ms,
    known,
    parse_json,
)
from ingest.reasons import Reason, Reject


def decode(payload: Payload, max_samples: int = MAX_SAMPLES) -> Decoded:
    """One location or an array of them, as `{"location": ..., "device_id": ...}`. Raises Reject."""
    message = Fields(parse_json(payload))
    location = message.take("location")
    if location is None:
        raise Reject(Reason.MISSING_FIELD, "location is missing: the client sends {location: {...}, device_id: ...}")
    # The certificate says who sends; the client's own idea of it is not needed.
    message.drop("device_id")
    common: dict[str, Scalar] = {}
    message.metrics(common)
    if isinstance(location, list):
        return collect(location, lambda item: _from_location(item, common), msgspec.json.encode, max_samples)
    return [_from_location(location, common)], NO_REJECTIONS


def _from_location(location: object, common: dict[str, Scalar]) -> Sample:
    fields = Fields(location, "location")
    timestamp = fields.take("timestamp")
    if timestamp is None:
        raise Reject(Reason.MISSING_TS, "location.timestamp is missing: the ISO 8601 time of the fix")
    metrics = dict(common)
    pos = _position(fields, metrics)
    _battery_and_activity(fields, metrics)
    odometer = known(fields.number("odometer"))
    if odometer is not None:
        metrics["odometer_m"] = odometer
    for name, prefix in (("extras", ""), ("geofence", "geofence_"), ("provider", "provider_")):
        nested = fields.fields(name)
        if nested is not None:
            nested.metrics(metrics, prefix)
    # The app's own record id, and how old the fix was on sending.
    fields.drop("uuid", "age")
    fields.metrics(metrics)
    return Sample(ts=epoch_ms(timestamp, "location.timestamp"), pos=pos, m=metrics or None)


def _position(fields: Fields, metrics: dict[str, Scalar]) -> Position | None:
    coords = fields.fields("coords")
    if coords is None:
        return None
    lat, lon = coords.number("latitude"), coords.number("longitude")
    if lat is None or lon is None:
        raise Reject(Reason.MISSING_FIELD, "location.coords: latitude or longitude is missing: a position has both")
    pos = Position(
        lat=lat,
        lon=lon,
        alt=coords.number("altitude"),
        speed=known(coords.number("speed")),
        heading=known(coords.number("heading")),
        acc=known(coords.number("accuracy")),
    )
    for name in ("speed_accuracy", "heading_accuracy", "altitude_accuracy"):
        value = known(coords.number(name))
        if value is not None:
            metrics[f"pos_{name}"] = value
    coords.drop("age")
    coords.metrics(metrics, "pos_")
    return pos


def _battery_and_activity(fields: Fields, metrics: dict[str, Scalar]) -> None:
    battery = fields.fields("battery")
    if battery is not None:
        level = known(battery.number("level"))
        if level is not None:
            metrics["battery_pct"] = round(level * 100, 1)
        battery.metrics(metrics, "battery_")
    activity = fields.fields("activity")
    if activity is not None:
        kind = activity.text("type")
        if kind is not None:
            metrics["activity"] = kind
        activity.metrics(metrics, "activity_")
