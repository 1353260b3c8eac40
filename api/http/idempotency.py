"""A POST that carries an `Idempotency-Key` takes effect once: a repeat gets the first one's answer.

An answer may hold a secret, and the key is all that a repeat must know; so the table keeps a hash of the key, and the
answer encrypted with what only the key gives. If the process dies between effect and memory, the key is free again
after a minute, and a repeat is carried out like a new request.
"""

import hashlib
import os
import re
from dataclasses import dataclass

import structlog
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import Principal
from api.http.errors import InvalidRequest, KeyInProgress, KeyReused
from api.http.security import authenticate, choose_tenant
from api.http.store import Remembered, RequestStore, Slot
from api.services import Services
from core.errors import MilkrunError

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,255}")
_FINAL_ERRORS = frozenset({404, 409, 410, 412, 422})
# What another try may not meet again.
_PASSING_PROBLEMS = frozenset({"invalid_request", "tenant_not_found"})
_KEPT_HEADERS = ("content-type", "location", "etag", "cache-control")
_log = structlog.get_logger()


class Idempotent:
    """Stands before a POST route that needs a scope."""

    def __init__(self, app: ASGIApp, route: str) -> None:
        self._app = app
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = Headers(scope=scope).get(HEADER)
        if key is None:
            await self._app(scope, receive, send)
            return
        if not _KEY.fullmatch(key):
            raise InvalidRequest(f"{HEADER} has 1 to 255 printable ASCII characters without spaces, such as a UUID")
        request = Request(scope, receive)
        services: Services = request.app.state.services
        try:
            principal = await authenticate(request, services.identity)
            named = request.headers.get("milkrun-tenant") or request.query_params.get("tenant")
            tenant = choose_tenant(principal, named)
        except MilkrunError:
            # The route says the same, and counts it.
            await self._app(scope, receive, send)
            return
        body = await request.body()
        slot = Slot(tenant, actor_of(principal), hashlib.sha256(key.encode()).hexdigest(), services.clock())
        attempt = _Attempt(services.requests, slot, _Seal(key, slot, _request_hash(request, body)))
        found = await attempt.store.reserve(slot, self._route, attempt.seal.request_hash)
        if found is not None:
            await attempt.again(found)(scope, receive, send)
            return
        answer = _Answer()
        try:
            await self._app(scope, _replay(body, receive), answer.take)
        finally:
            await attempt.settle(answer, getattr(request.state, "problem", None))
        # Only now: whoever repeats a request that was answered must find the answer.
        for message in answer.messages:
            await send(message)


def actor_of(principal: Principal) -> str:
    return f"{principal.kind}:{principal.id}"


def _request_hash(request: Request, body: bytes) -> bytes:
    parts = (request.method, request.url.path, request.url.query, request.headers.get("content-type", ""))
    return hashlib.sha256("\n".join(parts).encode() + b"\n" + body).digest()


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what else comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class _Answer:
    """What a route answers, held back."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 500
        self.headers = Headers()
        self.body = b""

    async def take(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = Headers(raw=message["headers"])
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


class _Seal:
    """Encrypts an answer so that it opens for the same key, actor and request alone."""

    def __init__(self, key: str, slot: Slot, request_hash: bytes) -> None:
        salt = f"{slot.tenant}\n{slot.actor}".encode()
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt, b"milkrun idempotency").derive(key.encode()))
        self.request_hash = request_hash

    def close(self, body: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, body, self.request_hash)

    def open(self, sealed: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:12], sealed[12:], self.request_hash)


@dataclass(frozen=True, slots=True)
class _Attempt:
    store: RequestStore
    slot: Slot
    seal: _Seal

    async def settle(self, answer: _Answer, problem: str | None) -> None:
        """Remember an answer that a repeat would get again; free the key after any other."""
        is_final = answer.status < 300 or (answer.status in _FINAL_ERRORS and problem not in _PASSING_PROBLEMS)
        is_final = is_final and "set-cookie" not in answer.headers  # a session is not handed out twice
        try:
            if is_final:
                kept = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
                await self.store.remember(self.slot, answer.status, kept, self.seal.close(answer.body))
            else:
                await self.store.release(self.slot)
        except MilkrunError as error:
            _log.warning("api.not_remembered", actor=self.slot.actor, error=str(error))

    def again(self, found: Remembered) -> Response:
        """The first answer. Raises KeyReused, KeyInProgress."""
        if found.request_hash != self.seal.request_hash:
            raise KeyReused(f"this {HEADER} came with another request before; a new request takes a new key")
        if found.status is None:
            raise KeyInProgress(f"the first request with this {HEADER} is still at work; ask again in a second")
        headers = {**found.headers, "Idempotency-Replayed": "true"}
        return Response(self.seal.open(found.body), found.status, headers)
