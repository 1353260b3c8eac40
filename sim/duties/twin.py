"""A truck's settings, kept in step with its shadow as a good device does it.

It asks for the shadow on each connect, since what was said while it was away is not repeated; takes a delta unless it
is older than the last one taken (the same version may come twice, and an equal one is no older); and reports what it
really did. A wish it does not understand, or of another type, it leaves, so that the difference stays to be seen.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from core import topics
from core.tenancy import Thing
from sim.duties.base import Line

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_ENDINGS = ("get/accepted", "get/rejected", "update/delta", "update/rejected")


def applied(settings: Mapping[str, Any], wishes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings after `wishes`, and of those the ones that were followed."""
    after, followed = dict(settings), {}
    for name, wish in wishes.items():
        have = settings.get(name)
        if isinstance(have, dict) and isinstance(wish, dict):
            after[name], inner = applied(have, wish)
            if inner:
                followed[name] = inner
        elif have is not None and _alike(have, wish):
            after[name] = followed[name] = wish
    return after, followed


def _alike(have: Any, wish: Any) -> bool:
    is_number = [isinstance(each, int | float) and not isinstance(each, bool) for each in (have, wish)]
    return all(is_number) or type(have) is type(wish)


class Twin:
    """One device's shadow client: a duty of its link."""

    def __init__(self, thing: Thing, settings: Mapping[str, Any]) -> None:
        self.thing = thing
        self.settings = dict(settings)
        self.version = 0
        self.refusals: list[dict[str, Any]] = []
        self._unsaid: deque[tuple[str, bytes]] = deque()
        self._work = asyncio.Event()
        self._tokens = itertools.count(1)

    def filters(self, thing: Thing) -> Sequence[str]:
        return [topics.shadow(thing, "", ending) for ending in _ENDINGS]

    async def serve(self, line: Line) -> None:
        self._say("get", {})
        while True:
            await self._work.wait()
            self._work.clear()
            while self._unsaid:
                await line.say(*self._unsaid[0])
                self._unsaid.popleft()

    def hear(self, topic: str, payload: bytes) -> None:
        head, _, ending = topic.partition("/shadow/")
        if ending in _ENDINGS and head.startswith("$aws/things/"):
            with contextlib.suppress(msgspec.DecodeError):
                self._take(ending, _decode(payload))

    def report(self, changes: Mapping[str, Any]) -> None:
        """The truck itself has changed something, such as a driver turning a knob."""
        self.settings |= changes
        self._say("update", {"state": {"reported": changes}})

    def _say(self, verb: str, body: Mapping[str, Any]) -> None:
        payload = _encode({**body, "clientToken": f"{self.thing.device}-{next(self._tokens)}"})
        self._unsaid.append((topics.shadow(self.thing, "", verb), payload))
        self._work.set()

    def _take(self, ending: str, body: dict[str, Any]) -> None:
        if ending == "get/rejected" and body.get("code") == 404:
            self._say("update", {"state": {"reported": self.settings}})
        elif ending in {"get/accepted", "update/delta"} and body.get("version", 0) >= self.version:
            self.version = body["version"]
            self._follow(body["state"] if ending == "update/delta" else body["state"].get("delta", {}))
        elif ending.endswith("rejected"):
            self.refusals.append(body)

    def _follow(self, wishes: Mapping[str, Any]) -> None:
        self.settings, followed = applied(self.settings, wishes)
        if followed:
            self._say("update", {"state": {"reported": followed}})
