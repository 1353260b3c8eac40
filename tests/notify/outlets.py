"""The real channels and senders, each against a receiver on this machine, on a clock that is moved by hand."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from notify import model
from notify.delivery.sender import Channel, Sender
from notify.model import Policy
from notify.push.apns import Apns
from notify.push.fcm import Fcm
from notify.webhooks.guard import Guard
from notify.webhooks.post import Post
from notify.webhooks.seal import Seal
from tests.notify.receivers import Answer, Asked, Receiver, http1, http2
from tests.notify.world import ACME, World

TIMEOUT_S = 0.6
_RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
APPLE_KEY = ec.generate_private_key(ec.SECP256R1())


def fcm_takes(asked: Asked) -> Answer:
    if asked.path == "/token":
        return Answer(body={"access_token": "ya29.token", "expires_in": 3600, "token_type": "Bearer"})
    return Answer(body={"name": f"projects/milkrun-test/messages/{len(asked.body)}"})


def fcm_refuses(status: int, code: str, *, message: str = "", field: str = "", **headers: str) -> Answer:
    """As FCM writes errors."""
    details: list[dict[str, object]] = [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
    ]
    if field:
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": field}]})
    error = {"code": status, "message": message or code, "status": code, "details": details}
    return Answer(status, {"error": error}, {name.replace("_", "-"): value for name, value in headers.items()})


def apns_takes(asked: Asked) -> Answer:
    return Answer(200, headers={"apns-id": asked.headers["apns-id"]})


def apns_refuses(status: int, reason: str, *, timestamp: int | None = None, **headers: str) -> Answer:
    told: dict[str, object] = {"reason": reason}
    if timestamp is not None:
        told["timestamp"] = timestamp
    return Answer(status, told, {name.replace("_", "-"): value for name, value in headers.items()})


def google_key(folder: Path, receiver: Receiver) -> Path:
    """A service account's file, whose tokens the receiver gives too."""
    file = folder / "service-account.json"
    facts = {
        "type": "service_account",
        "project_id": "milkrun-test",
        "private_key_id": "1",
        "private_key": _RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": "push@milkrun-test.iam.example",
        "token_uri": f"{receiver.url}/token",
    }
    file.write_text(json.dumps(facts))
    return file


@asynccontextmanager
async def fcm(world: World, folder: Path) -> AsyncIterator[tuple[Sender, Receiver]]:
    async with http1(fcm_takes) as receiver:
        channel = Fcm(google_key(folder, receiver), clock=world.now, url=receiver.url)
        yield sender(world, "fcm", channel, model.PUSH), receiver
        await channel.close()


@asynccontextmanager
async def apns(world: World, folder: Path) -> AsyncIterator[tuple[Sender, Receiver]]:
    async with http2(apns_takes) as receiver:
        file = folder / "AuthKey.p8"
        file.write_bytes(APPLE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        channel = Apns(
            file, key_id="KEY1234567", team_id="TEAM123456", topic="app.milkrun", clock=world.now, url=receiver.url
        )
        yield sender(world, "apns", channel, model.PUSH), receiver
        await channel.close()


@asynccontextmanager
async def webhook(world: World, _folder: Path) -> AsyncIterator[tuple[Sender, Receiver]]:
    async with http1(lambda _: Answer(204)) as receiver:
        guard = Guard(world.settings.webhook_networks)
        channel = Post(
            guard, Seal(world.settings.secret_key_file), clock=world.now, timeout_s=TIMEOUT_S, allow_http=True
        )
        await world.webhooks.add(
            ACME, url=f"{receiver.url}/hook", kinds=["alert.10min", "alert.5min", "alert.arrived", "stop.changed"]
        )
        yield sender(world, "webhook", channel, model.WEBHOOK), receiver
        await channel.close()


OUTLETS = {"fcm": fcm, "apns": apns, "webhook": webhook}


def sender(world: World, name: str, channel: Channel, policy: Policy) -> Sender:
    return Sender(
        database=world.operator,
        channels={name: channel},
        policy=policy,
        timeout_s=TIMEOUT_S,
        at_once=16,
        disable_after=timedelta(days=5),
        clock=world.now,
        chance=lambda: 0.5,  # no jitter
    )


async def send_what_is_due(*senders: Sender) -> None:
    """Until nothing is due at this moment."""
    while sum([await each.take() for each in senders]):
        for each in senders:
            await each.idle()


async def send_all(world: World, *senders: Sender, most: int = 60) -> None:
    """Until everything is settled, the clock moved on to each next attempt."""
    for _ in range(most):
        await send_what_is_due(*senders)
        waiting = [row["next_at"] for row in world.deliveries() if row["next_at"] is not None]
        if not waiting:
            return
        world.now.at = max(world.now.at, min(waiting))
    raise AssertionError(f"not settled: {world.deliveries()}")


async def waits(world: World, channel: str, phones: Sequence[str] = ("a-phone-token",)) -> None:
    """Somebody with these phones waits at the farm; of a webhook nobody need."""
    if channel != "webhook":
        await world.farmer(tokens=[(channel, phone) for phone in phones])
