"""A truck's settings, kept in step with its shadow as a good device does it.

It asks for the shadow on each connect, since what was said while it was away is not repeated; takes a delta unless it
is older than the last one taken (the same version may come twice, and an equal one is no older); and reports what it
really did. A wish it does not understand, or of another type, it leaves, so that the difference stays to be seen.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from core import topics
from core.mqtt import ConnectionLost, ConnectOptions, Message, MqttConnection, keep_connected, tls_context
from sim.link import Credentials, LinkOptions

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
    """One device's shadow client, on a connection of its own. `run` keeps connected until cancelled."""

    def __init__(self, credentials: Credentials, options: LinkOptions, settings: Mapping[str, Any]) -> None:
        self.thing = credentials.thing
        self.settings = dict(settings)
        self.version = 0
        self.refusals: list[dict[str, Any]] = []
        self._folder = credentials.folder
        self._options = options
        self._outgoing: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._tokens = itertools.count(1)

    async def run(self) -> None:
        """Connect and stay connected; pauses between attempts grow, with jitter."""
        await keep_connected(
            self._connect,
            self._session,
            report=lambda _error: None,
            first_pause_s=self._options.first_pause_s,
            longest_pause_s=self._options.longest_pause_s,
        )

    def report(self, changes: Mapping[str, Any]) -> None:
        """The truck itself has changed something, such as a driver turning a knob."""
        self.settings |= changes
        self._say("update", {"state": {"reported": changes}})

    def _say(self, verb: str, body: Mapping[str, Any]) -> None:
        payload = _encode({**body, "clientToken": f"{self.thing.device}-{next(self._tokens)}"})
        self._outgoing.put_nowait((topics.shadow(self.thing, "", verb), payload))

    async def _connect(self) -> MqttConnection:
        options, folder = self._options, self._folder
        connect = ConnectOptions(
            host=options.host,
            port=options.port,
            client_id=str(self.thing),
            tls=tls_context(folder / "ca.crt", folder / "device.crt", folder / "device.key"),
            protocol=options.protocol,
            keepalive_s=options.keepalive_s,
        )
        holder: list[MqttConnection] = []
        connection = MqttConnection(connect, lambda message: self._hear(holder[0], message))
        holder.append(connection)
        return await connection.connect()

    async def _session(self, connection: MqttConnection) -> None:
        await connection.subscribe([topics.shadow(self.thing, "", ending) for ending in _ENDINGS])
        self._say("get", {})
        sending = asyncio.create_task(self._send(connection))
        try:
            await asyncio.shield(connection.lost)
        finally:
            sending.cancel()
            await connection.disconnect()

    async def _send(self, connection: MqttConnection) -> None:
        while True:
            topic, payload = await self._outgoing.get()
            try:
                await connection.publish(topic, payload)
            except ConnectionLost:
                self._outgoing.put_nowait((topic, payload))
                return

    def _hear(self, connection: MqttConnection, message: Message) -> None:
        connection.ack([message.packet_id] if message.packet_id else [])
        with contextlib.suppress(msgspec.DecodeError):
            ending = message.topic.decode().partition("/shadow/")[2]
            self._take(ending, _decode(message.payload))

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
