"""`/v1/stream`: a live connection over Server-Sent Events, and `/v1/live-tickets`."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, override

import msgspec
from fastapi import APIRouter, Header, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from api.access import Scope
from api.http.security import Caller, needs
from api.live import protocol
from api.live.guard import Held
from api.live.service import Live
from api.live.stream import channels
from api.live.stream.client import Client
from api.live.stream.filters import Filter, InvalidFilter
from api.live.stream.frames import Close, Frame
from api.live.stream.hub import Wish
from api.services import Given

_PIECE = 65_536
"""A frame is handed on in pieces of this size, so that a slow reader can be told from a dead one."""
_RETRY_MS = 2000
_BOX = re.compile(r"-?\d{1,3}(\.\d{1,15})?(,-?\d{1,3}(\.\d{1,15})?){3}\Z")

router = APIRouter(tags=["live"])


class Ticket(BaseModel):
    """Opens one live connection within 30 s: `wss://.../v1/ws?ticket=...`."""

    ticket: str
    expires_at: datetime


class StreamSink:
    """A client's way to its event stream, which takes frames as fast as its reader does."""

    is_ready = False

    def __init__(self) -> None:
        self.work = asyncio.Event()
        self.is_closed = False
        self.after_ms: int | None = None
        self.pieces = 0
        self.is_waiting = False

    def write(self, frame: Frame) -> None:  # noqa: ARG002
        raise AssertionError("an event stream takes its frames itself")

    def wake(self) -> None:
        self.work.set()

    def unsent(self) -> int:
        """No bytes, but what serves as well: 0 when all was taken, else a number that changes with each piece."""
        return 0 if self.is_waiting else self.pieces + 1

    def close(self, code: Close, reason: str) -> None:
        if code is Close.RESTART:
            self.after_ms = int(reason.partition("=")[2])
        self.is_closed = True
        self.work.set()


@router.post("/v1/live-tickets", status_code=201, summary="A ticket for one live connection")
async def issue_live_ticket(caller: Annotated[Caller, needs(Scope.LIVE_READ)], services: Given) -> Ticket:
    """For pages that can neither send our cookie nor set a header; see docs/live.md."""
    ticket, expires_at = await services.live.tickets.issue(caller.principal, caller.tenant)
    return Ticket(ticket=ticket, expires_at=expires_at)


@router.get(
    "/v1/stream",
    summary="Live events as Server-Sent Events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream_events(
    caller: Annotated[Caller, needs(Scope.LIVE_READ)],
    services: Given,
    channel: Annotated[str, Query(description="What to follow", pattern=channels.PATTERN, examples=["vehicles"])],
    device: Annotated[list[str] | None, Query(description="Only these devices; repeat it", max_length=1000)] = None,
    label: Annotated[list[str] | None, Query(description="Only devices with this `key:value`; repeat it")] = None,
    bbox: Annotated[str | None, Query(description="Only positions in west,south,east,north", max_length=100)] = None,
    last_event_id: Annotated[str | None, Query(description="Resume after this id", max_length=80)] = None,
    last_event_id_header: Annotated[str | None, Header(alias="Last-Event-ID", max_length=80)] = None,
) -> StreamingResponse:
    """Resumes after `Last-Event-ID`: all that was missed, or `recovered: false` and a snapshot. See docs/live.md."""
    wish = _wish(channel, device, label, bbox, last_event_id_header or last_event_id)
    sink = StreamSink()
    client = Client(sink, tenant=caller.tenant, principal=caller.principal, settings=services.settings.live)
    live = services.live
    held = await live.guard.admit(client, "sse")
    try:
        await live.hub.subscribe(client, wish)
    except BaseException:
        live.guard.dismiss(held)
        raise
    return EventStream(live, held, sink)


class EventStream(StreamingResponse):
    """The answer that lasts; whatever ends it, the connection is let go."""

    def __init__(self, live: Live, held: Held, sink: StreamSink) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_stream(held.client, sink), media_type="text/event-stream", headers=headers)
        self._live = live
        self._held = held

    @override
    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._live.guard.dismiss(self._held)


async def _stream(client: Client, sink: StreamSink) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % _RETRY_MS
    while True:
        while (frame := client.take()) is not None:
            told = frame.stream
            for at in range(0, len(told), _PIECE):
                yield told[at : at + _PIECE]
                sink.pieces += 1
        if sink.is_closed:
            if sink.after_ms is not None:
                yield b"retry: %d\n\n" % sink.after_ms
            return
        sink.is_waiting = True
        sink.work.clear()
        await sink.work.wait()
        sink.is_waiting = False


def _wish(
    channel: str, devices: list[str] | None, labels: list[str] | None, bbox: str | None, last_id: str | None
) -> Wish:
    """Raises RequestValidationError with the parameter that is wrong."""
    wanted: dict[str, object] = {"devices": devices or []}
    pairs = [(label, *label.partition(":")) for label in labels or []]
    for label, _, colon, _ in pairs:
        if not colon:
            raise _invalid("label", f"{label[:80]!r} is not written key:value")
    wanted["labels"] = {key: value for _, key, _, value in pairs}
    if bbox is not None:
        if not _BOX.match(bbox):
            raise _invalid("bbox", "a box is written west,south,east,north in degrees")
        wanted["bbox"] = [float(part) for part in bbox.split(",")]
    try:
        filter_ = msgspec.convert(wanted, Filter)
    except (msgspec.ValidationError, InvalidFilter) as error:
        raise _invalid("bbox" if "bbox" in str(error) else "device", str(error)) from error
    epoch: str | None = None
    offset: int | None = None
    if last_id:
        epoch, _, text = last_id.partition(":")
        if not (epoch and text.isdecimal() and text.isascii() and len(text) <= 15):
            raise _invalid("Last-Event-ID", "an id is written epoch:offset, as the stream gave it")
        offset = int(text)
    return protocol.wish(channel, None, filter_, epoch, offset)


def _invalid(name: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", name), "msg": message, "type": "value_error", "input": None}])
