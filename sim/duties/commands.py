"""Commands carried out as a good device does it, or not at all, by a truck's habits.

One after the other, each once however often it is asked for, and none after its time. A truck that crashes in the
middle remembers what it had begun and says so when it is back: whether it was done then, nobody knows.
"""

import asyncio
import enum
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import cbor2
import msgspec

from core import topics
from core.clock import Clock, epoch_ms
from core.tenancy import Thing
from sim.duties.base import Line

_REMEMBERED = 1000
_FORMATS = ("json", "cbor")


class Manner(enum.Enum):
    """How a truck takes a command."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    FAIL = "fail"
    SLOW = "slow"
    CRASH = "crash"  # it says that it works on it, then its connection ends without a word
    SILENT = "silent"  # it never answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Shares (0 to 1) of the commands that are not simply accepted; `always` fixes a manner for a template.

    What becomes of an execution follows from its id, so that it is the same however often it is asked for.
    """

    refuse: float = 0.0
    fail: float = 0.0
    slow: float = 0.0
    crash: float = 0.0
    silent: float = 0.0
    always: Mapping[str, Manner] = field(default_factory=dict)
    work_s: float = 0.3
    slow_s: float = 20.0

    def manner(self, template: str, execution: str) -> Manner:
        if template in self.always:
            return self.always[template]
        drawn = Random(execution).random()
        shares = (
            (Manner.REFUSE, self.refuse),
            (Manner.FAIL, self.fail),
            (Manner.SLOW, self.slow),
            (Manner.CRASH, self.crash),
            (Manner.SILENT, self.silent),
        )
        for manner, share in shares:
            if drawn < share:
                return manner
            drawn -= share
        return Manner.ACCEPT


@dataclass(frozen=True, slots=True)
class Request:
    """One execution as it was asked for. `expires_at_ms` None: never."""

    execution: str
    format: str
    template: str
    parameters: Mapping[str, Any]
    expires_at_ms: int | None


@dataclass(slots=True)
class Counts:
    """What became of the executions, by their last word."""

    done: int = 0
    refused: int = 0
    failed: int = 0
    repeated: int = 0


type Answer = dict[str, Any]


class Commands:
    """One device's executions: a duty of its link. What was answered last is answered again, up to 1,000 executions."""

    def __init__(self, thing: Thing, habits: Habits, clock: Clock) -> None:
        self.thing = thing
        self.counts = Counts()
        self.carried_out: list[Request] = []
        self._habits = habits
        self._clock = clock
        self._waiting: deque[Request] = deque()
        self._begun: dict[str, Request] = {}
        self._final: OrderedDict[str, Answer] = OrderedDict()
        self._work = asyncio.Event()

    def filters(self, thing: Thing) -> Sequence[str]:
        return [topics.command(thing, "+", "request/+")]

    def hear(self, topic: str, payload: bytes) -> None:
        request = read(topic, payload)
        if request is not None and request.execution not in {each.execution for each in self._waiting}:
            self._waiting.append(request)
            self._work.set()

    async def serve(self, line: Line) -> None:
        for request in list(self._begun.values()):
            await self._end(line, request, _answer("FAILED", "INTERRUPTED", "the device restarted in the middle of it"))
        while True:
            while self._waiting:
                await self._do(line, self._waiting[0])
                self._waiting.popleft()
            self._work.clear()
            await self._work.wait()

    async def _do(self, line: Line, request: Request) -> None:
        known = self._final.get(request.execution)
        if known is not None:
            self.counts.repeated += 1
            await self._say(line, request, known)
            return
        if request.expires_at_ms is not None and epoch_ms(self._clock()) >= request.expires_at_ms:
            await self._end(line, request, _answer("REJECTED", "EXPIRED", "it came after its time"))
            return
        match self._habits.manner(request.template, request.execution):
            case Manner.SILENT:
                return
            case Manner.REFUSE:
                await self._end(line, request, _answer("REJECTED", "NOT_NOW", "the driver has declined"))
            case Manner.CRASH:
                await self._say(line, request, _answer("IN_PROGRESS"))
                self._begun[request.execution] = request
                self._waiting.popleft()
                line.drop()
                await asyncio.Event().wait()
            case manner:
                await self._say(line, request, _answer("IN_PROGRESS"))
                await asyncio.sleep(self._habits.slow_s if manner is Manner.SLOW else self._habits.work_s)
                await self._finish(line, request, manner)

    async def _finish(self, line: Line, request: Request, manner: Manner) -> None:
        if manner is Manner.FAIL:
            await self._end(line, request, _answer("FAILED", "NO_ANSWER", "the control unit did not answer"))
            return
        if request.execution not in self._final:
            self.carried_out.append(request)
        await self._end(line, request, _answer("SUCCEEDED") | {"result": _results(request.parameters)})

    async def _end(self, line: Line, request: Request, answer: Answer) -> None:
        # Remembered before it is said: a connection that ends meanwhile must not have it done twice.
        self._begun.pop(request.execution, None)
        self._final[request.execution] = answer
        if len(self._final) > _REMEMBERED:
            self._final.popitem(last=False)
        self.counts.done += answer["status"] == "SUCCEEDED"
        self.counts.refused += answer["status"] == "REJECTED"
        self.counts.failed += answer["status"] == "FAILED"
        await self._say(line, request, answer)

    async def _say(self, line: Line, request: Request, answer: Answer) -> None:
        encode = cbor2.dumps if request.format == "cbor" else msgspec.json.encode
        await line.say(topics.command(self.thing, request.execution, f"response/{request.format}"), encode(answer))


def read(topic: str, payload: bytes) -> Request | None:
    """The request in a message; None for what is none."""
    levels = topic.split("/")
    if len(levels) != 8 or levels[:3] != ["$aws", "commands", "things"] or levels[6] != "request":
        return None
    execution, form = levels[5], levels[7]
    try:
        body = cbor2.loads(payload) if form == "cbor" else msgspec.json.decode(payload)
    except (cbor2.CBORDecodeError, msgspec.DecodeError):
        return None
    if form not in _FORMATS or not isinstance(body, dict):
        return None
    # AWS IoT's own payload is whatever the command was made with: it may lack all of ours.
    parameters, expires_at = body.get("parameters"), body.get("expiresAt")
    return Request(
        execution,
        form,
        str(body.get("command", "")),
        parameters if isinstance(parameters, dict) else {},
        expires_at if isinstance(expires_at, int) else None,
    )


def _answer(status: str, code: str = "", description: str = "") -> Answer:
    if not code:
        return {"status": status}
    return {"status": status, "statusReason": {"reasonCode": code, "reasonDescription": description}}


def _results(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What was set, as AWS IoT writes results: `b` for flags, `bin` for bytes, `s` for everything else."""

    def typed(value: Any) -> dict[str, Any]:
        match value:
            case bool():
                return {"b": value}
            case bytes():
                return {"bin": value}
            case _:
                return {"s": str(value)}

    return {name: typed(value) for name, value in parameters.items()}
