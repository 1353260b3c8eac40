"""`/v1/ws`: a live connection over WebSocket."""

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.responses import JSONResponse

from api.access import Principal, Scope
from api.http.errors import TenantRequired, TooMany, Unauthorized, UnknownTenant
from api.http.security import COOKIE, InsufficientScope, authenticate, choose_tenant, is_own_origin, within
from api.live import protocol
from api.live.errors import (
    AuthRequired,
    InvalidMessage,
    TooManySubscriptions,
    UnknownSubscription,
)
from api.live.service import Live
from api.live.socket import LiveSocket
from api.live.stream import frames
from api.live.stream.client import DISCONNECTS, Client
from api.live.stream.frames import Close, Frame
from api.services import Services
from core.clock import epoch_ms
from core.errors import Forbidden, MilkrunError, Unavailable
from core.tenancy import TenantId

_SIGN_IN_WITHIN_S = 5.0
_MOST_WRONG = 10
"""Messages refused in a row of a connection before it is closed: a client in a loop helps nobody."""

router = APIRouter()


class SocketSink:
    """A client's way to its socket: while the socket takes frames they are written at once."""

    def __init__(self, socket: LiveSocket) -> None:
        self._socket = socket
        self.client: Client | None = None

    def bind(self, client: Client) -> None:
        self.client = client
        self._socket.on_writable = client.pump

    @property
    def is_ready(self) -> bool:
        return self._socket.is_writable

    def write(self, frame: Frame) -> None:
        self._socket.write(frame.socket)

    def wake(self) -> None:
        """Nothing to do: the socket itself says when it takes more."""

    def unsent(self) -> int:
        return self._socket.unsent()

    def close(self, code: Close, reason: str) -> None:
        if self._socket.is_open and self.client is not None:
            while (frame := self.client.take()) is not None:
                self._socket.write(frame.socket)
        self._socket.close(code, reason)


@dataclass(frozen=True, slots=True)
class _Caller:
    principal: Principal
    tenant: TenantId


@router.websocket("/v1/ws", name="live", dependencies=[within(Scope.LIVE_READ)])
async def live(websocket: WebSocket) -> None:
    services: Services = websocket.app.state.services
    if not _is_allowed_origin(websocket, services):
        detail = "pages of this origin may not connect; MILKRUN_API_CORS_ORIGINS names those that may"
        await websocket.send_denial_response(JSONResponse({"code": "origin_refused", "detail": detail}, 403))
        return
    await websocket.accept()
    socket: LiveSocket = websocket.scope["state"]["socket"]
    try:
        caller = await _sign_in(websocket, services)
        sink = SocketSink(socket)
        settings = services.settings.live
        client = Client(sink, tenant=caller.tenant, principal=caller.principal, settings=settings)
        held = await services.live.guard.admit(client, "websocket")
    except WebSocketDisconnect:
        return
    except MilkrunError as error:
        _refuse(socket, error)
        return
    try:
        sink.bind(client)
        client.tell(_ready(client, settings.ping_s))
        await _converse(websocket, services, client)
    finally:
        services.live.guard.dismiss(held)


def _is_allowed_origin(websocket: WebSocket, services: Services) -> bool:
    """Browsers always say which page connects, and nothing but this keeps a foreign one from using our cookie."""
    return is_own_origin(websocket) or websocket.headers["origin"] in services.settings.api.cors_origins


async def _sign_in(websocket: WebSocket, services: Services) -> _Caller:
    """Raises Unauthorized, InsufficientScope, TenantRequired, UnknownTenant, TooMany, Unavailable."""
    query = websocket.query_params
    try:
        if ticket := query.get("ticket"):
            principal, tenant = await services.live.tickets.redeem(ticket)
            return _Caller(principal, tenant)
        if "authorization" in websocket.headers or _has_own_cookie(websocket):
            principal = await authenticate(websocket, services.identity)
        else:
            principal = await services.identity.by_bearer(await _first_message(websocket))
    except Unauthorized:
        # Guessing costs its address what it would cost a caller.
        await services.limits.address(websocket)
        raise
    if not principal.may(Scope.LIVE_READ):
        raise InsufficientScope(f"this needs the scope {Scope.LIVE_READ}")
    chosen = choose_tenant(principal, query.get("tenant") or websocket.headers.get("milkrun-tenant"))
    if chosen is None:
        raise TenantRequired("say whose fleet: ?tenant=")
    is_known = chosen == principal.tenant or services.live.hub.knows(chosen)
    if not is_known and not await services.provisioning.has_tenant(chosen):
        raise UnknownTenant(f"there is no tenant {chosen!r}")
    return _Caller(principal, chosen)


def _has_own_cookie(websocket: WebSocket) -> bool:
    """A page of another origin proves itself by a token of its own, as with every other request."""
    return COOKIE in websocket.cookies and is_own_origin(websocket)


async def _first_message(websocket: WebSocket) -> str:
    try:
        async with asyncio.timeout(_SIGN_IN_WITHIN_S):
            message = protocol.read(await _receive(websocket))
    except TimeoutError as error:
        raise AuthRequired(f"no sign-in came within {_SIGN_IN_WITHIN_S:g} s") from error
    except InvalidMessage as error:
        raise AuthRequired(f'the first message is {{"type":"auth","token":...}}; {error}') from error
    if not isinstance(message, protocol.Auth):
        raise AuthRequired('the first message is {"type":"auth","token":...}')
    return message.token


async def _receive(websocket: WebSocket) -> str | bytes:
    """Raises WebSocketDisconnect."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005)
    text: str | bytes | None = message.get("text")
    return message["bytes"] if text is None else text


async def _converse(websocket: WebSocket, services: Services, client: Client) -> None:
    """Answer the client until it goes or is cut."""
    allowance = protocol.Allowance(protocol.RATE, protocol.BURST)
    wrong = 0
    while True:
        text: str | bytes = b""
        try:
            text = await _receive(websocket)
            if not allowance.take():
                client.cut(Close.TOO_MANY, "too_many_messages", f"over {protocol.RATE:g} messages a second")
                return
            await _answer(services, client, protocol.read(text))
            wrong = 0
        except WebSocketDisconnect:
            return
        except (Unauthorized, Forbidden) as error:
            client.cut(_close_code(error), error.code, str(error))
        except Unavailable as error:
            client.cut(Close.UNAVAILABLE, "unavailable", str(error))
        except MilkrunError as error:
            client.tell(frames.error(error.code, str(error), protocol.named(text)))
            wrong += 1
            if wrong >= _MOST_WRONG:
                client.cut(Close.PROTOCOL, error.code, "too many messages in a row were wrong")


async def _answer(services: Services, client: Client, message: protocol.Message) -> None:
    live: Live = services.live
    match message:
        case protocol.Auth():
            principal = await services.identity.by_bearer(message.token)
            live.guard.renew(client, principal)
            client.tell(_ready(client, services.settings.live.ping_s))
        case protocol.Subscribe():
            wish = message.wish()
            most = services.settings.live.subscriptions
            if wish.id not in client.subscriptions and len(client.subscriptions) >= most:
                raise TooManySubscriptions(f"this connection has its {most} subscriptions; end one first")
            await live.hub.subscribe(client, wish)
        case protocol.Unsubscribe():
            if not live.hub.unsubscribe(client, message.id):
                raise UnknownSubscription(f"there is no subscription {message.id!r}")
            client.tell(frames.message("unsubscribed", id=message.id))
        case protocol.Ping():
            client.tell(frames.message("pong", at=message.at))


def _ready(client: Client, ping_s: float) -> Frame:
    expires_at = client.principal.expires_at
    at = None if expires_at is None else epoch_ms(expires_at)
    return frames.message("ready", tenant=client.tenant, expires_at=at, ping_s=ping_s)


def _refuse(socket: LiveSocket, error: MilkrunError) -> None:
    """Nobody is known yet: say why, and close."""
    code = _close_code(error)
    DISCONNECTS.labels(str(int(code))).inc()
    if socket.is_open:
        socket.write(frames.error("unavailable" if isinstance(error, Unavailable) else error.code, str(error)).socket)
        socket.close(code, error.code)


def _close_code(error: MilkrunError) -> Close:
    codes: tuple[tuple[type[MilkrunError], Close], ...] = (
        (Unauthorized, Close.UNAUTHORIZED),
        (Forbidden, Close.FORBIDDEN),
        (UnknownTenant, Close.NO_TENANT),
        (TenantRequired, Close.NO_TENANT),
        (TooMany, Close.TOO_MANY),
        (Unavailable, Close.UNAVAILABLE),
    )
    if error.kind == "unavailable":
        return Close.UNAVAILABLE
    return next((code for kind, code in codes if isinstance(error, kind)), Close.PROTOCOL)
