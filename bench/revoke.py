"""From the call that revokes a device to the last message of it that the broker took, its live session included."""

import asyncio
import contextlib
import time

import uvloop
from rich.console import Console

from bench.figures import machine, spread
from bench.stack import Stack, running
from core import topics
from core.db import Database
from core.mqtt import ConnectionLost, ConnectOptions, MqttConnection, Refused, tls_context
from provisioning.ca import CertificateAuthority
from provisioning.service import ProvisioningService
from sim.link import Credentials

_DEVICES = 12
_GIVE_UP_S = 30.0


def main(console: Console) -> None:
    console.print(f"bench revoke on {machine()}")
    with running() as stack:
        fleet = stack.fleet(_DEVICES)
        taken_ms = uvloop.run(_measure(stack, fleet))
    console.print(f"revoke to last accepted publish, {_DEVICES} devices: {spread(taken_ms, ' ms')}")


async def _measure(stack: Stack, fleet: list[Credentials]) -> list[float]:
    settings = stack.context.settings
    authority = CertificateAuthority.open(stack.context.ca_dir, settings=settings.provisioning)
    app, operator = Database(settings.database.app_url), Database(settings.database.operator_url)
    async with app, operator:
        service = ProvisioningService(app=app, operator=operator, authority=authority, settings=settings.provisioning)
        return [await _one(stack, service, device) for device in fleet]


async def _one(stack: Stack, service: ProvisioningService, device: Credentials) -> float:
    publishing = asyncio.create_task(_publish_until_barred(stack, device))
    await asyncio.sleep(1.0)
    called_at = time.monotonic()
    await service.revoke_device(device.thing)
    async with asyncio.timeout(_GIVE_UP_S):
        last_taken_at = await publishing
    return max(0.0, last_taken_at - called_at) * 1000


async def _publish_until_barred(stack: Stack, device: Credentials) -> float:
    """Publish as fast as the broker answers and reconnect at once when cut; ends when the broker lets it in no more."""
    plan, folder, taken_at = stack.plan(rate=0, duration_s=0), device.folder, 0.0
    options = ConnectOptions(
        host=plan.host,
        port=plan.port,
        client_id=str(device.thing),
        tls=tls_context(folder / "ca.crt", folder / "device.crt", folder / "device.key"),
    )
    while True:
        try:
            connection = await MqttConnection.open(options)
        except (ConnectionLost, Refused):
            return taken_at
        with contextlib.suppress(ConnectionLost):
            while True:
                if await connection.publish(topics.event(device.thing), b"{}") < 0x80:
                    taken_at = time.monotonic()
