"""OwnTracks app payloads (https://owntracks.org/booklet/tech/json/): seconds, km/h, one object a message."""

from core.telemetry import Position, Sample, Scalar
from ingest.decoders.plain import (
    MAX_SAMPLES,
    NO_REJECTIONS,
    Decoded,
    Fields,
    Payload,
    epoch_ms,
    known,
    mps_from_kmh,
    parse_json,
)
from ingest.reasons import Reason, Reject

# Messages of the app that say nothing about where the vehicle is.
_NO_TELEMETRY = frozenset(
    {"lwt", "waypoint", "waypoints", "card", "cmd", "configuration", "dump", "beacon", "steps", "status", "request"}
)

_METRIC_NAMES = {
    "bs": "battery_state",  # 0 unknown, 1 unplugged, 2 charging, 3 full
    "t": "trigger",  # p ping, c region, b beacon, r reply, u manual, t timer
    "m": "monitoring_mode",  # 0 quiet, 1 manual, 2 significant, 3 move
    "vac": "vertical_acc_m",
    "p": "pressure_kpa",
    "tid": "tracker_id",
    "SSID": "wifi_ssid",
    "BSSID": "wifi_bssid",
    "desc": "region",
    "event": "region_event",  # enter, leave
}


def decode(payload: Payload, _max_samples: int = MAX_SAMPLES) -> Decoded:
    """A location or a transition is a sample; other messages raise Reject, most of them as not_telemetry."""
    fields = Fields(parse_json(payload))
    kind = fields.text("_type")
    if kind in {"location", "transition"}:
        return [_sample(fields, kind)], NO_REJECTIONS
    if kind is None:
        raise Reject(Reason.MISSING_FIELD, "_type is missing: every OwnTracks message has one")
    if kind == "encrypted":
        raise Reject(Reason.ENCRYPTED, "payload encryption is on in the app: switch it off, TLS protects the message")
    if kind in _NO_TELEMETRY:
        raise Reject(Reason.NOT_TELEMETRY, f"an OwnTracks {kind} is no telemetry")
    raise Reject(Reason.UNKNOWN_FIELD, f"_type {kind[:40]!r} is unknown: location and transition are stored")


def _sample(fields: Fields, kind: str) -> Sample:
    tst = fields.number("tst")
    if tst is None:
        raise Reject(Reason.MISSING_TS, "tst is missing: seconds since 1970 UTC of the fix")
    pos = _position(fields)
    if pos is None and kind == "location":
        raise Reject(Reason.MISSING_FIELD, "lat or lon is missing: a location has both")
    metrics: dict[str, Scalar] = {}
    battery = known(fields.number("batt"))
    if battery is not None:
        metrics["battery_pct"] = battery
    for name, regions in (("in_regions", fields.texts("inregions")), ("in_region_ids", fields.texts("inrids"))):
        if regions:
            metrics[name] = ",".join(regions)
    for short, name in _METRIC_NAMES.items():
        value = fields.take(short)
        if value is not None:
            Fields({name: value}).metrics(metrics, known=True)
    # The message's own id and routing, and a picture no metric can hold.
    fields.drop("_id", "_http", "topic", "image", "imagename")
    fields.metrics(metrics)
    return Sample(ts=epoch_ms(tst, "tst"), pos=pos, m=metrics or None)


def _position(fields: Fields) -> Position | None:
    lat, lon = fields.number("lat"), fields.number("lon")
    alt, heading, acc = fields.number("alt"), known(fields.number("cog")), known(fields.number("acc"))
    speed = mps_from_kmh(known(fields.number("vel")))
    if lat is None or lon is None:
        return None
    return Position(lat=lat, lon=lon, alt=alt, speed=speed, heading=heading, acc=acc)
