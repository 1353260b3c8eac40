"""Payloads from the field with what they must become, as files: tests/ingest/payloads/<format>/<device and oddity>."""

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.topics import Format
from ingest.decoders.plain import Decoded
from ingest.reasons import Rejection

PAYLOADS = Path(__file__).parent.parent / "payloads"


@dataclass(frozen=True)
class Golden:
    format: Format
    name: str
    payload: bytes
    expected: dict[str, object]


def load() -> list[Golden]:
    return [
        Golden(_format(path.parent.name), path.name, path.read_bytes(), json.loads(_expected(path).read_text()))
        for path in sorted(PAYLOADS.glob("*/*"))
        if not path.name.endswith(".expected.json")
    ]


def _format(folder: str) -> Format:
    return Format.JSON if folder == "json" else Format(folder)


def _expected(path: Path) -> Path:
    return path.with_name(f"{path.stem}.expected.json")


def shown(decoded: Decoded) -> dict[str, object]:
    """A decoder's result as the expectation files write it: what is not reported is not written."""
    samples, rejected = decoded
    plain = [_without_defaults(msgspec.to_builtins(sample)) for sample in samples]
    result: dict[str, object] = {"samples": plain}
    if rejected:
        result["rejected"] = [shown_rejection(one) for one in rejected]
    return result


def shown_rejection(rejection: Rejection) -> dict[str, object]:
    return {
        "reason": rejection.reason.value,
        "detail": rejection.detail,
        "boot": rejection.boot,
        "seq": rejection.seq,
    }


def _without_defaults(fields: dict[str, object]) -> dict[str, object]:
    return {
        name: _without_defaults(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None and value != ""
    }
