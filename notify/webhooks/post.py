"""Webhooks as a channel: one signed POST an attempt, to an address that was judged, no redirects followed."""

import ssl

import httpcore

from core.clock import Clock, epoch_ms
from notify import model
from notify.delivery.store import Message
from notify.errors import InvalidSecretKey, InvalidUrl
from notify.model import Outcome, Verdict
from notify.webhooks import guard, sign
from notify.webhooks.guard import AddressRefused, Guard, GuardedBackend
from notify.webhooks.seal import Seal

_ANSWER_BYTES = 16_384
_AGENT = "Milkrun-Webhooks"


class Post:
    """A channel. httpcore and not httpx: it follows nothing, decodes nothing, and reads no proxy from the environment.

    `close` when done.
    """

    def __init__(
        self,
        where: Guard,
        seal: Seal,
        *,
        clock: Clock,
        timeout_s: float,
        allow_http: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=None,
            max_keepalive_connections=20,
            keepalive_expiry=30.0,
            network_backend=GuardedBackend(where),
        )
        self._seal = seal
        self._clock = clock
        self._allow_http = allow_http
        self._timeouts = {"connect": min(5.0, timeout_s), "read": timeout_s, "write": timeout_s, "pool": timeout_s}

    async def close(self) -> None:
        await self._pool.aclose()

    async def send(self, message: Message) -> Outcome:
        """One attempt."""
        body = (message.payload or "").encode()
        now = self._clock()
        try:
            target = guard.parse(message.url or "", allow_http=self._allow_http)
        except InvalidUrl as error:
            return Outcome(Verdict.REFUSED, error=str(error))
        if not message.secrets:
            return Outcome(Verdict.REFUSED, error="the webhook has no secret to sign with")
        try:
            secrets = [self._seal.open(message.tenant, message.target, each) for each in message.secrets]
        except InvalidSecretKey as error:
            return Outcome(Verdict.RETRY, error=str(error))  # for the operator to mend
        signed = sign.headers(secrets, message.event, epoch_ms(now) // 1000, body)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": _AGENT,
            "accept-encoding": "identity",
            **signed,
        }
        sent = [(b"host", target.header), *((k.encode(), v.encode()) for k, v in headers.items())]
        try:
            async with self._pool.stream(
                "POST", target.url, headers=sent, content=body, extensions={"timeout": self._timeouts}
            ) as answer:
                text = await _beginning(answer)
                found = {name.lower(): value for name, value in answer.headers}
                return _judge(answer.status, text, model.retry_after_s(_text(found.get(b"retry-after")), now))
        except AddressRefused as error:
            return Outcome(Verdict.RETRY, error=f"address_refused: {error}")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return Outcome(Verdict.RETRY, error=f"{type(error).__name__}: {error}")


async def _beginning(answer: httpcore.Response) -> str:
    """Enough of an answer to show; of one without end no more."""
    read = bytearray()
    async for part in answer.aiter_stream():
        read += part
        if len(read) >= _ANSWER_BYTES:
            break
    return bytes(read[:_ANSWER_BYTES]).decode("utf-8", "replace")


def _judge(status: int, text: str, wait_s: float | None) -> Outcome:
    if 200 <= status < 300:
        return Outcome(Verdict.SENT, status, response=text)
    if status == 410:
        return Outcome(Verdict.GONE, status, "410: the receiver wants no more", text)
    error = f"{status}: redirects are not followed" if 300 <= status < 400 else f"answered {status}"
    return Outcome(Verdict.RETRY, status, error, text, wait_s)


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")
