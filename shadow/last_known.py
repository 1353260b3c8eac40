"""The read-only shadow `$milkrun`: what the platform last knew of a device, from what ingest and broker keep anyway.

It is made when somebody asks, so telemetry costs no shadow write at all and the answer is as fresh as the last commit.
"""

from datetime import datetime
from typing import Any

from core.clock import epoch_ms
from shadow import model
from shadow.algebra import Tree
from shadow.model import Document, Key, Section
from shadow.store import LastKnown

_PLACE = ("lat", "lon", "alt", "speed", "heading", "acc")


def answer(key: Key, known: LastKnown, at_s: int) -> Tree:
    """A get answer with `reported` alone; metadata says how old each part is. Raises ShadowNotFound."""
    device = known.device
    state: Tree = {}
    stamps: Tree = {}

    def say(part: str, values: dict[str, Any], at: datetime) -> None:
        said = {name: value for name, value in values.items() if value is not None}
        state[part] = said
        stamps[part] = {name: {"timestamp": int(at.timestamp())} for name in said}

    if device["ts"] is not None:
        say("position", {name: device[name] for name in _PLACE}, device["ts"])
    if device["since"] is not None:
        reason = None if device["online"] else device["disconnect_reason"]
        presence = {"online": device["online"], "since": epoch_ms(device["since"]), "reason": reason}
        say("presence", presence, device["since"])
    if device["last_seen_at"] is not None:
        state["last_seen"] = epoch_ms(device["last_seen_at"])
        stamps["last_seen"] = {"timestamp": int(device["last_seen_at"].timestamp())}
    if known.metrics:
        state["metrics"] = {row["name"]: row["value"] if row["text"] is None else row["text"] for row in known.metrics}
        stamps["metrics"] = {row["name"]: {"timestamp": int(row["ts"].timestamp())} for row in known.metrics}
    document = Document(version=device["version"] or 1, exists=bool(state), reported=Section(state, stamps))
    return model.get(key, document, None, at_s).answer
