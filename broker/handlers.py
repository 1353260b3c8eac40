"""What the broker does about other packages' news."""

from collections.abc import Mapping

from broker.mosquitto import BrokerControl
from broker.service import KICKS
from core.bus import Delivery
from core.events import CertificateRevoked, DeviceStatusChanged, Event
from core.worker import Handler

_BARRED = frozenset({"suspended", "decommissioned"})


def handlers(control: BrokerControl) -> Mapping[type[Event], Handler]:
    """The table: which event leads to what. Cutting twice is harmless, so deliveries may repeat."""

    async def on_certificate_revoked(event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, CertificateRevoked)
        await _bar(event.thing, "revoked")

    async def on_status_changed(event: Event, _delivery: Delivery) -> None:
        assert isinstance(event, DeviceStatusChanged)
        if event.status in _BARRED:
            await _bar(event.thing, event.status)
        else:
            await control.reload()

    async def _bar(thing: str, reason: str) -> None:
        # The live session is cut even when the list cannot be installed; the error then has the event tried again.
        try:
            await control.reload()
        finally:
            await control.kick(thing)
            KICKS.labels(reason).inc()

    return {CertificateRevoked: on_certificate_revoked, DeviceStatusChanged: on_status_changed}
