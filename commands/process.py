"""Builds the commands process and runs it until it is told to stop; then settles what it holds and goes."""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress

import structlog

from commands.handlers import CommandClerk, handlers
from commands.sending.dispatch import Dispatcher, Outcome, Outgoing
from core import topics
from core.bus import Bus
from core.clock import utc_now
from core.db import Database
from core.mqtt.client import ConnectionLost, ConnectOptions, MqttConnection, keep_connected, tls_context
from core.mqtt.desk import Desk, DeskOptions
from core.settings import MqttSettings, Settings
from core.worker import Worker, until_stopped

NAME = "svc-commands"
_DRAIN_WITHIN_S = 20.0
_ANSWER_WITHIN_S = 5.0
_NO_MATCHING_SUBSCRIBERS = 0x10
_SEND_AGAIN_S = 0.2
_log = structlog.get_logger()


class Link:
    """The dispatcher's connection, kept up. A session of its own, always a fresh one: it receives nothing."""

    def __init__(self, mqtt: MqttSettings) -> None:
        self._mqtt = mqtt
        self._tls = tls_context(mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
        self._connection: MqttConnection | None = None
        self._has_come_up = asyncio.Event()

    @property
    def is_up(self) -> bool:
        return self._connection is not None and not self._connection.closed

    async def hand_over(self, messages: Sequence[Outgoing]) -> Sequence[Outcome]:
        """One outcome each. A broker that does not answer is hung up on, so that it reads nothing of this later."""
        connection = self._connection
        if connection is None or connection.closed or not messages:
            return [Outcome.UNSENT] * len(messages)
        tasks = [asyncio.ensure_future(_publish(connection, each)) for each in messages]
        _, late = await asyncio.wait(tasks, timeout=_ANSWER_WITHIN_S)
        if late:
            _log.warning("commands.broker_silent", messages=len(late))
            connection.abort()
            await asyncio.wait(tasks)
        return [task.result() for task in tasks]

    async def tell(self, topic: str, payload: bytes) -> None:
        """Publish once there is a connection, and again where it broke off."""
        while True:
            await self._has_come_up.wait()
            if self._connection is not None:
                with suppress(ConnectionLost):
                    await self._connection.publish(topic, payload)
                    return
            await asyncio.sleep(_SEND_AGAIN_S)

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        await keep_connected(
            self._open,
            self._hold,
            report=lambda error: _log.warning("commands.link_lost", error=str(error)),
            longest_pause_s=5.0,
        )

    async def _open(self) -> MqttConnection:
        mqtt = self._mqtt
        # Any number of dispatchers, each under a name of its own; rights go by the certificate's.
        options = ConnectOptions(
            host=mqtt.host,
            port=mqtt.port,
            client_id=f"{NAME}-{secrets.token_hex(4)}",
            tls=self._tls,
            protocol=mqtt.protocol,
            keepalive_s=mqtt.keepalive_s,
        )
        return await MqttConnection.open(options)

    async def _hold(self, connection: MqttConnection) -> None:
        self._connection = connection
        self._has_come_up.set()
        try:
            await connection.lost
        finally:
            self._has_come_up.clear()
            self._connection = None


async def _publish(connection: MqttConnection, message: Outgoing) -> Outcome:
    try:
        reason = await connection.publish(message.topic, message.payload, expiry_s=message.expiry_s)
    except ConnectionLost:
        return Outcome.UNKNOWN
    if reason == _NO_MATCHING_SUBSCRIBERS:
        return Outcome.NOBODY
    return Outcome.TAKEN if reason < 0x80 else Outcome.UNSENT


async def run(settings: Settings) -> None:
    """One desk and one dispatcher. What the desk does not settle in time stays with the broker and comes again."""
    commands, database, clock = settings.commands, settings.database, utc_now
    bus, link = Bus(settings.redis, settings.bus), Link(settings.mqtt)
    async with Database(
        database.operator_url, pool_size=6, statement_timeout_s=database.statement_timeout_s
    ) as everyone:
        dispatcher = Dispatcher(database=everyone, wire=link, settings=commands, clock=clock)
        clerk = CommandClerk(database=everyone, wake=dispatcher.wake, over=dispatcher.over, clock=clock)
        options = DeskOptions(
            name=NAME,
            filters=topics.command_filters(),
            batch_requests=commands.batch_answers,
            batch_wait_s=commands.batch_wait_ms / 1000,
            receive_maximum=commands.receive_maximum,
        )
        desk = Desk(settings.mqtt, options, clerk)
        worker = Worker(
            group="commands",
            handlers=handlers(dispatcher.wake_device, link.tell),
            bus=bus,
            database=everyone,
            settings=settings.bus,
        )

        async def drain() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(desk.drain(), _DRAIN_WITHIN_S)

        try:
            await until_stopped(desk.run(), link.run(), dispatcher.run(), worker.run(), before_cancel=drain)
        finally:
            await bus.close()
