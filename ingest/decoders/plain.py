"""Reading what a parser yields, with verdicts that name the field: slow and exact, where a fast path has given up."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from core.telemetry import Position, Sample, Scalar
from ingest.reasons import Reason, Reject, Rejection

type Decoded = tuple[list[Sample], Sequence[Rejection]]
"""The samples of a message, and a verdict for each of its samples that is none."""

type Payload = bytes | memoryview

NO_REJECTIONS: Sequence[Rejection] = ()
MAX_DEPTH = 16
MAX_SAMPLES = 1000
MAX_SINGLE_REJECTIONS = 100
_MAX_INT = 2**63 - 1
_MS_FROM = 100_000_000_000  # as seconds this is the year 5138, as milliseconds it is 1973

_NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})\Z", re.ASCII)
_BYTE = re.compile(r"\(byte (\d+)\)")

_parse = msgspec.json.Decoder().decode


def parse_json(payload: Payload) -> object:
    """The JSON value as plain objects. Raises Reject: empty, malformed, too_deep, out_of_range."""
    if not payload:
        raise Reject(Reason.EMPTY, "the payload has no bytes")
    try:
        value: object = _parse(payload)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise Reject(Reason.MALFORMED, f"text is not UTF-8: {error.reason}") from error
    except msgspec.ValidationError as error:
        # Without a schema, only a number that fits no double gets here.
        raise Reject(Reason.OUT_OF_RANGE, "a number is too large for a double") from error
    except ValueError as error:
        raise Reject(Reason.MALFORMED, _explain_syntax(payload, str(error))) from error
    check_depth(value)
    return value


def _explain_syntax(payload: Payload, error: str) -> str:
    at = _BYTE.search(error)
    if at is None:
        return "the JSON ends too early, or a text has half a surrogate pair"
    index = int(at[1])
    hint = "; several samples are sent as an array" if "trailing" in error else ""
    return f"{error}: {bytes(payload[index : index + 16])!r}{hint}"


def check_depth(value: object) -> None:
    """Raises Reject if objects and arrays nest deeper than MAX_DEPTH."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    if any(isinstance(node, dict | list) for node in level):
        raise _too_deep()


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _too_deep() -> Reject:
    return Reject(Reason.TOO_DEEP, f"objects and arrays nest deeper than {MAX_DEPTH}")


def storable(value: object) -> None:
    """Raises Reject if a text anywhere inside has a NUL or a number is too large: PostgreSQL can store neither."""
    level = [value]
    while level:
        for node in level:
            if isinstance(node, str) and "\0" in node:
                raise Reject(Reason.BAD_TEXT, f"a text has a NUL character: {node[:40]!r}")
            if isinstance(node, int) and not -_MAX_INT <= node <= _MAX_INT:
                raise Reject(Reason.OUT_OF_RANGE, "a whole number fits 64 bits; one does not")
            if isinstance(node, dict):
                bad = [name for name in node if "\0" in name]
                if bad:
                    raise Reject(Reason.BAD_TEXT, f"a field's name has a NUL character: {bad[0][:40]!r}")
        level = [child for node in level for child in _children(node)]


class Name(msgspec.Struct, gc=False):
    """What a device calls a sample, read alone, so that even a wrong sample can be acknowledged as kept."""

    boot: Annotated[str, msgspec.Meta(max_length=64, pattern=r"\A[ -~]*\Z")] = ""
    seq: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | None = None


class Fields:
    """A plain object being read. Each read takes its field away; what nobody took is left for `metrics`.

    An absent field and a null are the same: not reported, None. A wrong type raises Reject naming the field.
    """

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise Reject(Reason.BAD_TYPE, f"{path or 'a sample'}: expected an object, got {_describe(value)}")
        self._prefix = f"{path}." if path else ""
        self._left: dict[str, object] = {}
        for name, field in value.items():
            if not isinstance(name, str):
                raise Reject(Reason.BAD_TYPE, f"{path or 'a sample'}: a field's name is {_describe(name)}, not text")
            self._left[name] = field

    def number(self, name: str) -> float | None:
        value = self._left.pop(name, None)
        if value is None or type(value) is float:
            return value
        if type(value) is not int:
            raise self._wrong(name, "a number", value)
        self._check_int(name, value)
        return float(value)

    def integer(self, name: str) -> int | None:
        """A whole number; `11.0` is one, since some firmware knows only floats."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise self._wrong(name, "a whole number", value)
        self._check_int(name, value)
        return value

    def text(self, name: str) -> str | None:
        value = self._left.pop(name, None)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(name, "text", value)

    def texts(self, name: str) -> list[str]:
        value = self._left.pop(name, None)
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        raise self._wrong(name, "an array of texts", value)

    def flag(self, name: str) -> bool | None:
        """True or false; 1 and 0 are read as such."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float) and value in {0, 1}:
            return bool(value)
        raise self._wrong(name, "true or false", value)

    def fields(self, name: str) -> "Fields | None":
        value = self._left.pop(name, None)
        return None if value is None else Fields(value, f"{self._prefix}{name}")

    def take(self, name: str) -> object:
        """The field as it is, or None."""
        return self._left.pop(name, None)

    def drop(self, *names: str) -> None:
        """Leave out what has no use here."""
        for name in names:
            self._left.pop(name, None)

    def metrics(self, into: dict[str, Scalar], prefix: str = "", *, known: bool = False) -> None:
        """Keep every field still left as metric `prefix + name`.

        Raises Reject for one that is no scalar, or whose metric `into` has already. `known` says that the fields were
        meant as metrics, so that a wrong value is a wrong type and not an unknown field.
        """
        for name, value in self._left.items():
            if value is None:
                continue
            path = f"{self._prefix}{name}"
            metric = prefix + name
            if not isinstance(value, bool | int | float | str):
                reason = Reason.BAD_TYPE if known else Reason.UNKNOWN_FIELD
                raise Reject(reason, f"{path}: expected a number, text, true or false, got {_describe(value)}")
            if type(value) is int:
                self._check_int(name, value)
            if metric in into:
                raise Reject(Reason.UNKNOWN_FIELD, f"{path}: the sample has a metric {metric!r} already")
            into[metric] = value
        self._left = {}

    def _check_int(self, name: str, value: int) -> None:
        if not -_MAX_INT <= value <= _MAX_INT:
            raise Reject(Reason.OUT_OF_RANGE, f"{self._prefix}{name}: a whole number fits 64 bits")

    def _wrong(self, name: str, expected: str, value: object) -> Reject:
        hint = "; send numbers without quotes" if isinstance(value, str) and "number" in expected else ""
        return Reject(Reason.BAD_TYPE, f"{self._prefix}{name}: expected {expected}, got {_describe(value)}{hint}")


def sample_of(value: object) -> Sample:
    """The native sample that a plain object says. Raises Reject with what is wrong.

    Unknown scalars become metrics: `x` at the top is metric `x`, `pos.x` is metric `pos_x`.
    """
    check_depth(value)
    fields = Fields(value)
    ts = fields.integer("ts")
    if ts is None:
        raise Reject(Reason.MISSING_TS, "ts is missing: every sample has its time, in milliseconds since 1970 UTC")
    boot = fields.text("boot") or ""
    seq = fields.integer("seq")
    metrics: dict[str, Scalar] = {}
    named = fields.fields("m")
    if named is not None:
        named.metrics(metrics, known=True)
    place = fields.fields("pos")
    pos = None
    if place is not None:
        pos = position_of(place)
        place.metrics(metrics, "pos_")
    fields.metrics(metrics)
    return Sample(ts=ts, boot=boot, seq=seq, pos=pos, m=metrics or None)


def position_of(fields: Fields) -> Position:
    lat, lon = fields.number("lat"), fields.number("lon")
    if lat is None or lon is None:
        raise Reject(Reason.MISSING_FIELD, f"pos.{'lat' if lat is None else 'lon'} is missing: a position has both")
    return Position(
        lat=lat,
        lon=lon,
        alt=fields.number("alt"),
        speed=fields.number("speed"),
        heading=fields.number("heading"),
        acc=fields.number("acc"),
        sats=fields.integer("sats"),
        hdop=fields.number("hdop"),
    )


def check_count(items: Sequence[object], max_samples: int) -> None:
    if not items:
        raise Reject(Reason.EMPTY, "the array has no samples")
    if len(items) > max_samples:
        raise Reject(Reason.TOO_MANY_SAMPLES, f"{len(items)} samples in one message; at most {max_samples}")


def collect[T](
    items: Sequence[T], read: Callable[[T], Sample], keep: Callable[[T], bytes], max_samples: int
) -> Decoded:
    """Read each item of an array; a bad one costs only itself. `keep` gives its bytes for the dead letter.

    From MAX_SINGLE_REJECTIONS on, bad ones share one verdict on the whole message, so that one message cannot become
    ten thousand dead letters. Raises Reject for an array without items, or with more than `max_samples`.
    """
    check_count(items, max_samples)
    samples: list[Sample] = []
    rejected: list[Rejection] = []
    more = 0
    for index, item in enumerate(items):
        try:
            samples.append(read(item))
        except Reject as reject:
            if len(rejected) < MAX_SINGLE_REJECTIONS:
                bad = reject.rejection
                rejected.append(replace(bad, detail=f"[{index}] {bad.detail}", payload=keep(item)))
            else:
                more += 1
                last = reject.rejection
    if more:
        rejected.append(Rejection(last.reason, f"{more} more samples are wrong, the last one: {last.detail}"))
    return samples, rejected


def epoch_ms(value: object, path: str) -> int:
    """Milliseconds since 1970 UTC from seconds, milliseconds or ISO 8601 text (UTC unless it says otherwise)."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise Reject(Reason.BAD_TYPE, f"{path}: expected an ISO 8601 time, got {_describe(value)}") from None
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Reject(Reason.BAD_TYPE, f"{path}: expected a time, got {_describe(value)}")
    if not abs(value) < _MAX_INT:
        raise Reject(Reason.OUT_OF_RANGE, f"{path}: expected seconds or milliseconds since 1970")
    return round(value if abs(value) >= _MS_FROM else value * 1000)


def scalar_from_text(text: str) -> Scalar:
    """The number or boolean that `text` is, else the text."""
    if text in {"true", "false"}:
        return text == "true"
    if _NUMBER.match(text):
        return float(text) if "." in text else int(text)
    return text


def coordinates(text: str, path: str) -> tuple[float, float]:
    """Latitude and longitude from `lat,lon`. Raises Reject."""
    lat, _, lon = text.partition(",")
    if not (_NUMBER.match(lat.strip()) and _NUMBER.match(lon.strip())):
        raise Reject(Reason.BAD_TYPE, f"{path}: expected 'latitude,longitude', got {_describe(text)}")
    return float(lat), float(lon)


def known(value: float | None) -> float | None:
    """The value, or None where a phone says "unknown" with a negative number."""
    return None if value is None or value < 0 else value


def mps_from_kmh(speed_kmh: float | None) -> float | None:
    return None if speed_kmh is None else round(speed_kmh / 3.6, 3)


def _describe(value: object) -> str:
    if isinstance(value, str):
        return f"text {value[:40]!r}"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, int):
        return "a whole number"
    names = {type(None): "null", dict: "an object", list: "an array"}
    return names.get(type(value), f"a value of type {type(value).__name__}")
