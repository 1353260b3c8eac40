"""From the bus into the channel logs: which news becomes which event of which channel."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from api.live import news, store
from core.bus import Delivery
from core.channels import Channel, Channels, Note
from core.clock import Clock, epoch_ms
from core.db import Database
from core.events import (
    DeviceConnected,
    DeviceDescribed,
    DeviceDisconnected,
    DeviceRegistered,
    DeviceReported,
    DeviceStatusChanged,
    EstimatesMade,
    Event,
    Received,
    TelemetryReceived,
)
from core.tenancy import TenantId, Thing
from core.worker import Handler

_encode = msgspec.json.Encoder().encode


class _Fix(msgspec.Struct, gc=False, omit_defaults=True):
    device: str
    ts: int
    lat: float
    lon: float
    alt: float | None = None
    speed: float | None = None
    heading: float | None = None
    acc: float | None = None


class Publisher:
    """Handlers of the worker group `live`, which share the partitions of the bus over all API processes.

    An entry of the bus is appended once however often it is delivered. `run` carries what the handlers give it to
    Redis, all that waits in one round trip.
    """

    def __init__(self, channels: Channels, database: Database, clock: Clock) -> None:
        self._channels = channels
        self._database = database
        self._clock = clock
        self._wanted: dict[Channel, bool] = {}
        self._waiting: list[tuple[list[Note], asyncio.Future[list[bool]]]] = []
        self._work = asyncio.Event()

    def handlers(self) -> Mapping[type[Event], Handler]:
        """The table: which event becomes what."""
        return {
            TelemetryReceived: self._on_telemetry,
            DeviceConnected: self._on_presence,
            DeviceDisconnected: self._on_presence,
            DeviceRegistered: self._on_device,
            DeviceStatusChanged: self._on_device,
            DeviceDescribed: self._on_device,
            DeviceReported: self._on_report,
            EstimatesMade: self._on_estimates,
            **dict.fromkeys(news.TELLERS, self._on_news),
        }

    async def run(self) -> None:
        """Append until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            waiting, self._waiting = self._waiting, []
            notes = [note for group, _ in waiting for note in group]
            try:
                outcomes = await self._channels.append(notes)
            except Exception as error:  # noqa: BLE001  each handler is told, and is tried again by its worker
                for _, done in waiting:
                    if not done.done():
                        done.set_exception(error)
                continue
            at = 0
            for group, done in waiting:
                for note, outcome in zip(group, outcomes[at : at + len(group)], strict=True):
                    if outcome != "known" and note.channel.name == "vehicles":
                        self._wanted[note.channel] = outcome != "counted"
                if not done.done():
                    done.set_result([outcome == "wanted" for outcome in outcomes[at : at + len(group)]])
                at += len(group)

    async def _on_telemetry(self, event: Event, delivery: Delivery) -> None:
        assert isinstance(event, TelemetryReceived)
        by_tenant: dict[str, list[tuple[str, Received]]] = {}
        for received in event.samples:
            if received.live and received.sample.pos is not None:
                tenant, _, device = received.thing.partition(":")
                by_tenant.setdefault(tenant, []).append((device, received))
        told = {Channel(TenantId(tenant), "vehicles"): fixes for tenant, fixes in by_tenant.items()}
        notes = [
            _note(delivery, event.received_ms, channel, len(fixes), self._positions(channel, fixes))
            for channel, fixes in told.items()
        ]
        missing = await self._append(notes)
        if any(missing):
            again = [note.channel for note, is_missing in zip(notes, missing, strict=True) if is_missing]
            await self._append(
                [_note(delivery, event.received_ms, c, len(told[c]), _positions(told[c])) for c in again]
            )

    def _positions(self, channel: Channel, fixes: Sequence[tuple[str, Received]]) -> list[bytes] | None:
        """None where nobody wanted them the last time: they are asked for if that has changed."""
        return _positions(fixes) if self._wanted.get(channel, True) else None

    async def _on_presence(self, event: Event, delivery: Delivery) -> None:
        assert isinstance(event, DeviceConnected | DeviceDisconnected)
        thing = Thing.parse(event.thing)
        is_online = isinstance(event, DeviceConnected)
        told = {"device": thing.device, "online": is_online, "since": event.at}
        await self._tell(delivery, Channel(thing.tenant, "vehicles"), "presence", told)

    async def _on_device(self, event: Event, delivery: Delivery) -> None:
        assert isinstance(event, DeviceRegistered | DeviceStatusChanged | DeviceDescribed)
        thing = Thing.parse(event.thing)
        async with self._database.tenant(thing.tenant) as tx:
            device = await store.device(tx, thing.device)
        if device is not None:
            told = {"device": device.device, "status": device.status, "type": device.type, "labels": device.labels}
            await self._tell(delivery, Channel(thing.tenant, "vehicles"), "device", told)

    async def _on_report(self, event: Event, delivery: Delivery) -> None:
        assert isinstance(event, DeviceReported)
        thing = Thing.parse(event.thing)
        told = {"device": thing.device, "ts": event.ts, "type": event.type, "data": event.data}
        await self._tell(delivery, Channel(thing.tenant, "events"), "event", told)

    async def _on_news(self, event: Event, delivery: Delivery) -> None:
        await self._tell(delivery, *news.TELLERS[type(event)](event))

    async def _on_estimates(self, event: Event, delivery: Delivery) -> None:
        """A trip has a log once somebody asked for it; until then nobody holds a position that must be kept true."""
        assert isinstance(event, EstimatesMade)
        estimates = {news.trip_channel(each): each for each in event.estimates}
        begun = await self._channels.is_begun(list(estimates))
        told = [news.arrivals(each) for each, is_begun in zip(estimates.values(), begun, strict=True) if is_begun]
        now_ms = epoch_ms(self._clock())
        await self._append(
            [_note(delivery, now_ms, channel, 1, [_event(type_, _encode(data))]) for channel, type_, data in told]
        )

    async def _tell(self, delivery: Delivery, channel: Channel, type_: str, data: Mapping[str, object]) -> None:
        now_ms = epoch_ms(self._clock())
        await self._append([_note(delivery, now_ms, channel, 1, [_event(type_, _encode(data))])])

    async def _append(self, notes: list[Note]) -> list[bool]:
        """Which of the notes are wanted whole."""
        if not notes:
            return []
        done: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append((notes, done))
        self._work.set()
        return await done


def _note(delivery: Delivery, at_ms: int, channel: Channel, count: int, told: Sequence[bytes] | None) -> Note:
    return Note(channel, delivery.stream_key, delivery.id, at_ms, count, told)


def _positions(fixes: Sequence[tuple[str, Received]]) -> list[bytes]:
    told = []
    for device, received in fixes:
        sample, pos = received.sample, received.sample.pos
        assert pos is not None
        fix = _Fix(device, sample.ts, pos.lat, pos.lon, pos.alt, pos.speed, pos.heading, pos.acc)
        told.append(_event("position", _encode(fix)))
    return told


def _event(type_: str, data: bytes) -> bytes:
    """The event without its opening brace and offset, which the log gives it."""
    return b'"type":"%b","data":%b}' % (type_.encode(), data)
