"""What the broker does about other packages' news."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from broker.mosquitto import BrokerControl
from broker.service import KICKS
from core.bus import Delivery
from core.events import CertificateRevoked, DeviceStatusChanged, Event, Issued, MessagesIssued
from core.worker import Handler

type Send = Callable[[Sequence[Issued]], Awaitable[None]]

_BARRED = frozenset({"suspended", "decommissioned"})


def handlers(control: BrokerControl, send: Send) -> Mapping[type[Event], Handler]:
    """The table: which event leads to what. Cutting twice is harmless, so deliveries may repeat.

    `send` publishes to devices and waits out an outage of the broker, so a message is never given up for one.
    """

    async def on_certificate_revoked(event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, CertificateRevoked)
        await _bar(event.thing, "revoked")

    async def on_status_changed(event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, DeviceStatusChanged)
        if event.status in _BARRED:
            await _bar(event.thing, event.status)
        else:
            await control.reload()

    async def on_messages_issued(event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, MessagesIssued)
        await send(event.messages)

    async def _bar(thing: str, reason: str) -> None:
        # The live session is cut even when the list cannot be installed; the error then has the event tried again.
        try:
            await control.reload()
        finally:
            await control.kick(thing)
            KICKS.labels(reason).inc()

    return {
        CertificateRevoked: on_certificate_revoked,
        DeviceStatusChanged: on_status_changed,
        MessagesIssued: on_messages_issued,
    }
