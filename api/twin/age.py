"""How old what Milkrun last knew of a device is, pure."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from shadow.algebra import Tree

_encode = msgspec.json.Encoder(order="deterministic").encode


def ages_s(answer: Tree) -> dict[str, int]:
    """For each part of `reported` the seconds since its newest value, by the answer's own clock; never below 0."""
    stamps = answer["metadata"].get("reported", {})
    return {part: max(0, answer["timestamp"] - max(_stamps(tree))) for part, tree in stamps.items()}


def digest(answer: Tree) -> str:
    """Of what an answer says, whenever it is said."""
    said = {"state": answer["state"], "metadata": answer["metadata"]}
    return hashlib.blake2b(_encode(said), digest_size=8).hexdigest()


def _stamps(tree: Any) -> Iterator[int]:
    if isinstance(tree, dict):
        for name, each in tree.items():
            if name == "timestamp" and isinstance(each, int):
                yield each
            else:
                yield from _stamps(each)
