"""What devices say of their commands, settled a batch in one transaction; and other packages' news."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import Counter, Histogram
from psycopg import errors as pg

from commands import model, store
from commands.contract import wire
from commands.drafting import news
from commands.errors import AnswerRefused, InternalFailure, UnknownExecution
from commands.model import Answer, Execution
from commands.sending import store as lanes
from commands.sending.dispatch import MOVED
from core import dead_letters, outbox, topics
from core.bus import Delivery
from core.clock import Clock
from core.db import Database, DatabaseUnavailable, Tx
from core.events import CommandChanged, DeviceConnected, DeviceStatusChanged, Event
from core.mqtt.desk import Message, Reply, Settled
from core.tenancy import TenantId, Thing
from core.topics import CommandAnswer
from core.worker import Handler

ANSWERS = Counter("milkrun_commands_answers_total", "Answers of devices settled", ["status", "result"])
ROUND_TRIP = Histogram(
    "milkrun_commands_round_trip_seconds",
    "From first handing a command to the broker to its final answer",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600),
)
_log = structlog.get_logger()


@dataclass(slots=True)
class Said:
    """An answer on its way: of which execution, what, and at last what is said to it."""

    message: Message
    topic: CommandAnswer
    answer: Answer | None = None
    refused: AnswerRefused | None = None
    failure: Exception | None = None

    @property
    def key(self) -> tuple[TenantId, str]:
        return self.topic.thing.tenant, self.topic.execution

    def reply(self, kind: str, payload: bytes) -> Reply:
        rest = f"response/{kind}/{self.topic.format}"
        return Reply(topics.command(self.topic.thing, self.topic.execution, rest), payload)


class CommandClerk:
    """Settles what the desk brings. `database` sees every tenant.

    `wake` has queues looked at whose next may go; `over` is told the ids of executions that have ended.
    """

    def __init__(
        self,
        *,
        database: Database,
        wake: Callable[[], None],
        clock: Clock,
        over: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._wake = wake
        self._over = over
        self._clock = clock

    async def settle(self, requests: Sequence[Message], *, is_backlog: bool) -> Settled:  # noqa: ARG002
        """An answer delivered again changes nothing, and is accepted again."""
        said = [each for message in requests if (each := _read(message)) is not None]
        return Settled(await self._settle(said))

    def told(self, receipts: Sequence[int]) -> None:
        """There are none: news goes by the relay."""

    async def _settle(self, said: list[Said]) -> list[Reply]:
        """Commit, whatever it takes: outages are waited out, a poisonous answer is found and set aside."""
        pause_s = 0.05
        while said:
            try:
                return await self._commit(said)
            except DatabaseUnavailable as error:
                _log.warning("commands.waiting", error=str(error), answers=len(said))
                await asyncio.sleep(pause_s)
                pause_s = min(5.0, pause_s * 2)
            except (pg.OperationalError, pg.ProgrammingError, pg.NotSupportedError, pg.InternalError):
                raise  # no answer's fault: the process ends, is started anew, and the broker still has them all
            except Exception as error:
                if len(said) > 1:
                    middle = len(said) // 2
                    return [*await self._settle(said[:middle]), *await self._settle(said[middle:])]
                if said[0].failure is not None:
                    raise  # it is out of the way already: the fault is not in the answer
                _log.exception("commands.failed", thing=str(said[0].topic.thing), execution=said[0].topic.execution)
                said[0].refused, said[0].failure = InternalFailure("Internal service failure"), error
        return []

    async def _commit(self, said: Sequence[Said]) -> list[Reply]:
        at = self._clock()
        replies: list[Reply] = []
        async with self._database.unscoped(reason="a batch is of many tenants' devices") as tx:
            things = {each.topic.thing for each in said if each.refused is None}
            await store.lock_lanes(tx, things)
            before = await store.by_ids(tx, {each.key for each in said if each.refused is None})
            now_are = dict(before)
            for each in said:
                found = now_are.get(each.key)
                try:
                    after = _answered(each, found, at)
                except AnswerRefused as error:
                    ANSWERS.labels(each.answer.status.value if each.answer else "", error.aws_error).inc()
                    replies.append(
                        each.reply("rejected", wire.rejected(each.topic.execution, error, each.topic.format))
                    )
                else:
                    assert each.answer is not None
                    ANSWERS.labels(each.answer.status.value, "accepted" if after is not found else "repeated").inc()
                    now_are[each.key] = after
                    payload = wire.accepted(after.id, each.answer.status, each.topic.format)
                    replies.append(each.reply("accepted", payload))
            await _save(tx, before, now_are)
            has_more = await lanes.settle_lanes(tx, things, at)
            await dead_letters.keep(tx, [_letter(each, at.isoformat()) for each in said if each.failure is not None])
        self._over([after.id for after in now_are.values() if not after.is_open])
        if has_more:
            self._wake()
        for key, after in now_are.items():
            if after.ended_at and not before[key].ended_at and after.sent_at:
                ROUND_TRIP.observe((after.ended_at - after.sent_at).total_seconds())
        return replies


def _read(message: Message) -> Said | None:
    text = message.topic.decode("utf-8", "replace")
    try:
        said = Said(message, topics.parse_command_answer(text))
    except topics.InvalidTopic as error:
        ANSWERS.labels("", "bad_topic").inc()
        _log.warning("commands.bad_topic", error=str(error))
        return None
    try:
        said.answer = wire.read(message.payload, said.topic.format)
    except AnswerRefused as error:
        said.refused = error
    return said


def _answered(said: Said, found: Execution | None, at: datetime) -> Execution:
    """What the answer makes of the execution. Raises AnswerRefused."""
    if said.refused is not None:
        raise said.refused
    answer = said.answer
    assert answer is not None
    if found is None or found.thing != said.topic.thing:
        raise UnknownExecution(f"there is no execution {said.topic.execution} for this device")
    return model.answer(found, answer, at)


async def _save(
    tx: Tx, before: Mapping[tuple[TenantId, str], Execution], now_are: Mapping[tuple[TenantId, str], Execution]
) -> None:
    changed = [after for key, after in now_are.items() if after is not before[key]]
    await store.save(tx, changed)
    await outbox.add(tx, [news(each) for each in changed])
    for key, after in now_are.items():
        if after.state is not before[key].state:
            MOVED.labels(after.state.value).inc()


def _letter(said: Said, received_at: str) -> dead_letters.DeadLetter:
    return dead_letters.DeadLetter(
        tenant=said.topic.thing.tenant,
        received_at=received_at,
        source="mqtt",
        topic=said.message.topic.decode("utf-8", "replace"),
        thing=str(said.topic.thing),
        reason="command_answer_failed",
        detail=repr(said.failure)[:1000].replace("\0", ""),
        payload=said.message.payload,
    )


def handlers(
    wake_device: Callable[[Thing], Awaitable[None]], tell: Callable[[str, bytes], Awaitable[None]]
) -> Mapping[type[Event], Handler]:
    """The table: which news leads to what. Each may come again without harm.

    `tell` publishes for services that follow AWS IoT's events, and waits out an outage of the broker.
    """

    async def on_device(event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, DeviceConnected | DeviceStatusChanged)
        await wake_device(Thing.parse(event.thing))

    async def on_command_changed(event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, CommandChanged)
        tenant = event.thing.partition(":")[0]
        await tell(topics.command_event(f"{tenant}:{event.command}", event.state), wire.event(event))

    return {DeviceConnected: on_device, DeviceStatusChanged: on_device, CommandChanged: on_command_changed}
