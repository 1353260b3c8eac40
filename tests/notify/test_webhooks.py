"""Webhooks: signatures another library accepts, and addresses nothing is ever sent to, however they are written."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import standardwebhooks
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.clock import utc_now
from notify.delivery import store
from notify.errors import InvalidUrl
from notify.model import Verdict
from notify.webhooks import guard, sign
from notify.webhooks.guard import Address, AddressRefused, Guard
from notify.webhooks.post import Post
from notify.webhooks.seal import Seal
from tests.notify.outlets import TIMEOUT_S, send_all, webhook
from tests.notify.receivers import Answer, http1
from tests.notify.world import ACME, World, alert

pytestmark = pytest.mark.db

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "0.0.0.0", "0.1.2.3", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.88.99.1", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1", "100::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str):
    assert not Guard().is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str):
    assert Guard().is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "[::1]", "localhost",
     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "017700000001", "0x7f.1", "LOCALHOST", "localhost."],
)  # fmt: skip
async def test_this_machine_is_found_out_however_it_is_written(world: World, host: str):
    """Refused when it is registered, where it can be told from its writing; and whenever it is connected to."""
    async with http1(lambda _: Answer(200)) as receiver:
        port = receiver.url.rpartition(":")[2]
        url = f"http://{host}:{port}/"
        with pytest.raises(InvalidUrl):
            Guard().check(guard.parse(url, allow_http=True))
        outcome = await attempt(world, url, Guard())
        assert outcome.verdict is not Verdict.SENT
        assert receiver.connections == 0


async def attempt(world: World, url: str, where: Guard, tls: ssl.SSLContext | None = None):
    """One attempt to send to this URL, whatever was checked before."""
    hook, _ = await world.webhooks.add(ACME, url="https://erp.example/", kinds=["alert.10min"])
    world.change("UPDATE webhook SET url = %(u)s WHERE webhook_id = %(w)s", u=url, w=hook.id)
    await world.raise_(alert())
    seal = Seal(world.settings.secret_key_file)
    channel = Post(where, seal, clock=utc_now, timeout_s=TIMEOUT_S, allow_http=True, ssl_context=tls)
    [message] = await taken(world)
    try:
        return await channel.send(message)
    finally:
        await channel.close()


async def taken(world: World):
    async with world.operator.unscoped(reason="a test takes what is due") as tx:
        return await store.claim(
            tx, ["webhook"], busy=[], now=world.now(), lease=world.now() + timedelta(hours=1), most=9, of_target=9
        )


class Rebinding:
    """A resolver that answers something else each time it is asked, as an attacker's name server does."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ipaddress.ip_address(each) for each in answer]


async def test_a_name_is_resolved_once_and_what_was_judged_is_what_is_connected_to(world: World):
    """127.0.0.2 plays the public address here: it alone is allowed. A second look at the name would lead elsewhere."""
    async with http1(lambda _: Answer(200), host="127.0.0.1") as inside:
        port = int(inside.url.rpartition(":")[2])
        outside = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.2", port)
        async with outside:
            names = Rebinding(["127.0.0.2"], ["127.0.0.1"])
            where = Guard([ipaddress.ip_network("127.0.0.2/32")], names)
            outcome = await attempt(world, f"http://rebinding.example:{port}/", where)
        assert names.asked == 1
        assert inside.connections == 0
        assert outcome.verdict is Verdict.RETRY  # 127.0.0.2 closed the connection


@pytest.mark.parametrize("found", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"]])
async def test_a_name_that_leads_inside_is_refused_even_beside_a_public_address(world: World, found: list[str]):
    async with http1(lambda _: Answer(200)) as receiver:
        port = receiver.url.rpartition(":")[2]
        outcome = await attempt(world, f"http://erp.example:{port}/", Guard((), Rebinding(found)))
        assert (outcome.verdict, outcome.error.split(":")[0]) == (Verdict.RETRY, "address_refused")
        assert receiver.connections == 0


async def test_a_redirect_is_a_failure_and_is_not_followed(world: World):
    async with (
        http1(lambda _: Answer(200)) as inside,
        http1(lambda _: Answer(307, headers={"location": f"{inside.url}/secret"})) as receiver,
    ):
        outcome = await attempt(world, f"{receiver.url}/hook", Guard(world.settings.webhook_networks))
        assert (outcome.verdict, outcome.status, outcome.error) == (
            Verdict.RETRY, 307, "307: redirects are not followed",
        )  # fmt: skip
        assert (inside.connections, len(receiver.asked)) == (0, 1)


async def test_no_proxy_of_the_environment_is_used(world: World, monkeypatch: pytest.MonkeyPatch):
    async with http1(lambda _: Answer(200)) as proxy, http1(lambda _: Answer(200)) as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        outcome = await attempt(world, f"{receiver.url}/hook", Guard(world.settings.webhook_networks))
        assert outcome.verdict is Verdict.SENT
        assert proxy.connections == 0


async def test_an_answer_without_end_is_read_no_further_than_needed(world: World):
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                await writer.drain()
        except OSError:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await attempt(world, f"http://127.0.0.1:{port}/", Guard(world.settings.webhook_networks))
        assert (outcome.verdict, len(outcome.response)) == (Verdict.SENT, 16_384)


async def test_tls_is_by_the_name_although_the_connection_is_to_an_address(world: World, tmp_path: Path):
    served, trust = certificate(tmp_path, "erp.example")
    async with http1(lambda _: Answer(200), tls=served) as receiver:
        port = receiver.url.rpartition(":")[2]
        where = Guard(world.settings.webhook_networks, Rebinding(["127.0.0.1"]))
        good = await attempt(world, f"https://erp.example:{port}/hook", where, trust)
        assert good.verdict is Verdict.SENT, good
        assert receiver.asked[0].headers["host"] == f"erp.example:{port}"
        world.change("DELETE FROM webhook")
        wrong = await attempt(world, f"https://other.example:{port}/hook", where, trust)
        assert (wrong.verdict, "certificate" in wrong.error.lower()) == (Verdict.RETRY, True)
        assert len(receiver.asked) == 1


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for `name`, and a client's that trusts it and nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    file = folder / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.public_bytes(Encoding.PEM) + secret)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(file)
    trust = ssl.create_default_context(cadata=made.public_bytes(Encoding.PEM).decode())
    return served, trust


async def test_every_message_verifies_by_the_specifications_own_library(world: World, tmp_path: Path):
    world.now.at = utc_now()  # the library refuses what is older than five minutes
    async with webhook(world, tmp_path) as (sender, receiver):
        world.change("DELETE FROM webhook")
        made, first = await world.webhooks.add(ACME, url=f"{receiver.url}/", kinds=["alert.10min", "alert.5min"])
        await world.raise_(alert())
        await send_all(world, sender)
        _, _, second = await world.webhooks.rotate(ACME, made.id, overlap=timedelta(hours=1))
        await world.raise_(alert("5min"))
        await send_all(world, sender)
        world.now.pass_(hours=2)
        world.change("UPDATE delivery SET state = 'pending', next_at = now(), attempts = 0 WHERE kind = 'alert.5min'")
        await send_all(world, sender)
    alone, both, after = receiver.asked
    assert standardwebhooks.Webhook(first).verify(alone.body, alone.headers)["type"] == "alert.10min"
    for secret in (first, second):
        assert standardwebhooks.Webhook(secret).verify(both.body, both.headers)["data"]["kind"] == "5min"
    assert len(both.headers["webhook-signature"].split()) == 2
    assert len(after.headers["webhook-signature"].split()) == 1
    assert after.headers["webhook-id"] == both.headers["webhook-id"]
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(second).verify(alone.body, alone.headers)


def test_a_signature_is_of_the_id_the_time_and_every_byte():
    key = sign.new_secret()
    headers = sign.headers([key], "msg_1", int(utc_now().timestamp()), '{"a":"ü"}'.encode())
    checks = standardwebhooks.Webhook(sign.written(key))
    assert checks.verify('{"a":"ü"}', headers) == {"a": "ü"}
    for wrong in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            checks.verify('{"a":"ü"}', headers | wrong)


async def test_the_systems_own_resolver_takes_numbers_for_addresses_which_is_why_results_are_judged():
    where = Guard()
    for name in ("2130706433", "127.1", "localhost"):
        try:
            await where.addresses(name, 443)
        except (AddressRefused, socket.gaierror):
            continue
        raise AssertionError(name)
