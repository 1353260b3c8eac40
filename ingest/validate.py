"""Whether a sample can be true: ranges, clock, names. Pure, and on the hot path: the clean case does no work twice."""

import re
from dataclasses import replace
from functools import lru_cache

from core.settings import IngestSettings
from core.telemetry import Position, Sample, Scalar
from ingest.reasons import Reason, Rejection, printable

MAX_BOOT_CHARS = 64
MAX_SEQ = 2**53 - 1  # what every JSON library can hold
MAX_NAME_CHARS = 64
MAX_TEXT_CHARS = 1024
NULL_ISLAND_DEG = 0.0001

_INT64 = 2**63
_MAX_NUMBER = 1e290  # so that no sum of them overflows: one that does stops the rollups of every tenant
_MS_PER_YEAR_SPAN = 100_000_000_000  # until 1973 as milliseconds, until 5138 as seconds
_US_FROM = 100_000_000_000_000  # from 5138 as milliseconds, 1973 as microseconds
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:#-]*\Z", re.ASCII)


def check(sample: Sample, now_ms: int, limits: IngestSettings) -> Rejection | None:
    """None if the sample may be stored, else the first thing wrong with it and what is allowed.

    A sample with neither position nor metrics is sound: it is a sign of life. The verdict carries the sample's boot and
    seq unless they are what is wrong.
    """
    boot, seq = sample.boot, sample.seq
    if boot and not (len(boot) <= MAX_BOOT_CHARS and boot.isascii() and boot.isprintable()):
        return _reject(
            Reason.BAD_TEXT, f"boot has at most {MAX_BOOT_CHARS} printable ASCII characters, not {boot[:80]!r}"
        )
    if seq is not None and not 0 <= seq <= MAX_SEQ:
        return _reject(Reason.OUT_OF_RANGE, f"seq is 0 to {MAX_SEQ}, not {_show(seq)}")
    if not now_ms - limits.max_age_s * 1000 <= sample.ts <= now_ms + limits.max_ahead_s * 1000:
        return replace(_wrong_time(sample.ts, now_ms, limits), boot=boot, seq=seq)
    pos, metrics = sample.pos, sample.m
    wrong = _check_position(pos) if pos is not None else None
    if wrong is None and metrics:
        wrong = _check_metrics(metrics, limits.max_metrics)
    return None if wrong is None else replace(wrong, boot=boot, seq=seq)


def _check_position(pos: Position) -> Rejection | None:
    lat, lon = pos.lat, pos.lon
    # Written so that NaN, which compares false with everything, is refused.
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0):
        return _wrong_position(pos)
    if -NULL_ISLAND_DEG < lat < NULL_ISLAND_DEG and -NULL_ISLAND_DEG < lon < NULL_ISLAND_DEG:
        return _reject(Reason.NULL_ISLAND, "pos is 0,0: a receiver without a fix; leave pos out until there is one")
    alt, speed, heading, acc, sats, hdop = pos.alt, pos.speed, pos.heading, pos.acc, pos.sats, pos.hdop
    if (
        (alt is None or -500.0 <= alt <= 20_000.0)
        and (speed is None or 0.0 <= speed <= 150.0)
        and (heading is None or 0.0 <= heading <= 360.0)
        and (acc is None or 0.0 <= acc <= 100_000.0)
        and (sats is None or 0 <= sats <= 100)
        and (hdop is None or 0.0 <= hdop <= 100.0)
    ):
        return None
    return _wrong_position(pos)


def _check_metrics(metrics: dict[str, Scalar], max_metrics: int) -> Rejection | None:
    if len(metrics) > max_metrics:
        return _reject(Reason.TOO_MANY_METRICS, f"{len(metrics)} metrics in one sample; at most {max_metrics}")
    for name, value in metrics.items():
        if not _is_name(name):
            return _reject(
                Reason.BAD_NAME,
                f"metric name {name[:80]!r}: a letter or '_' first, then letters, digits and _ . : # -, "
                f"at most {MAX_NAME_CHARS} characters",
            )
        kind = type(value)
        if kind is float:
            # NaN and infinity fail this.
            if not -_MAX_NUMBER <= value <= _MAX_NUMBER:  # type: ignore[operator]
                return _reject(Reason.OUT_OF_RANGE, f"m.{name}: expected a number within 1e290, got {value}")
        elif kind is int:
            if not -_INT64 <= value < _INT64:  # type: ignore[operator]
                return _reject(Reason.OUT_OF_RANGE, f"m.{name}: a whole number fits 64 bits; this one does not")
        elif kind is str and (len(value) > MAX_TEXT_CHARS or "\0" in value):  # type: ignore[arg-type,operator]
            return _reject(Reason.BAD_TEXT, f"m.{name}: a text has at most {MAX_TEXT_CHARS} characters and no NUL")
    return None


@lru_cache(maxsize=8192)
def _is_name(name: str) -> bool:
    """Fleets use a few dozen names; remembering the answers is cheaper than matching again."""
    return len(name) <= MAX_NAME_CHARS and _NAME.match(name) is not None


_RANGES = (
    ("lat", -90, 90, "degrees"),
    ("lon", -180, 180, "degrees"),
    ("alt", -500, 20_000, "metres"),
    ("speed", 0, 150, "m/s"),
    ("heading", 0, 360, "degrees from north"),
    ("acc", 0, 100_000, "metres"),
    ("sats", 0, 100, "satellites"),
    ("hdop", 0, 100, ""),
)


def _wrong_position(pos: Position) -> Rejection:
    for name, low, high, unit in _RANGES:
        value = getattr(pos, name)
        if value is not None and not low <= value <= high:
            allowed = f"{low} to {high} {unit}".rstrip()
            unknown = "; leave out what is unknown" if value < 0 and low == 0 else ""
            return _reject(Reason.OUT_OF_RANGE, f"pos.{name} is {allowed}, not {_show(value)}{unknown}")
    raise AssertionError(pos)


def _wrong_time(ts: int, now_ms: int, limits: IngestSettings) -> Rejection:
    if 0 < ts < _MS_PER_YEAR_SPAN and abs(ts * 1000 - now_ms) < _MS_PER_YEAR_SPAN * 10:
        return _reject(Reason.OUT_OF_RANGE, f"ts {ts} looks like seconds; send milliseconds")
    if ts > _US_FROM:
        return _reject(Reason.OUT_OF_RANGE, f"ts {_show(ts)} looks like microseconds or less; send milliseconds")
    if ts > now_ms:
        ahead_s = (ts - now_ms) // 1000
        return _reject(Reason.IN_FUTURE, f"ts is {ahead_s} s ahead of the server; at most {limits.max_ahead_s} s")
    age_s = (now_ms - ts) // 1000
    return _reject(Reason.TOO_OLD, f"ts is {_show(age_s)} s old; at most {limits.max_age_s} s")


def _show(value: float) -> str:
    """A number as text; Python refuses to print integers of thousands of digits."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of over 30 digits"
    return str(value)


def _reject(reason: Reason, detail: str) -> Rejection:
    return Rejection(reason, printable(detail))
