"""The outermost layer: a request's id, its log line and metrics, and the headers every answer has."""

import re
import time
import uuid
from collections.abc import Mapping

import structlog
from prometheus_client import Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import Principal
from api.http import problems
from core.settings import ApiSettings

REQUESTS = Counter("milkrun_api_requests_total", "Requests answered, by route template", ["method", "route", "status"])
SECONDS = Histogram(
    "milkrun_api_request_seconds",
    "From a request's head to the head of its answer",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("milkrun_api_in_flight", "Requests at work, live streams included")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NO_ROUTE = "none"
_QUIET = frozenset({"/healthz", "/readyz"})
_log = structlog.get_logger()


class Entrance:
    """Around everything else. An error nobody expected ends here as a problem and a log line."""

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._headers = _fixed_headers(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(Headers(scope=scope))
        with IN_FLIGHT.track_inprogress(), structlog.contextvars.bound_contextvars(request_id=state["request_id"]):
            if scope["type"] == "http":
                await self._answer(scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        is_head = method == "HEAD"
        if is_head:
            # A copy: the server goes by its own, and knows that a HEAD's answer has no body.
            scope = {**scope, "method": "GET"}
        started = time.perf_counter()
        status, head_s = 0, 0.0

        async def outward(message: Message) -> None:
            nonlocal status, head_s
            if message["type"] == "http.response.start":
                status, head_s = message["status"], time.perf_counter() - started
                self._complete(scope, message)
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, outward)
        except Exception as error:  # noqa: BLE001  the edge: whatever it is, the caller gets an answer
            answer = problems.bug(Request(scope), error)
            if not status:
                await answer(scope, receive, outward)
        finally:
            self._tell(scope, method, status, head_s, time.perf_counter() - started)

    def _complete(self, scope: Scope, message: Message) -> None:
        headers = MutableHeaders(raw=message["headers"])
        state = scope["state"]
        for name, value in {**self._headers, **state.get("rate_limit", {})}.items():
            headers.setdefault(name, value)
        headers["X-Request-ID"] = state["request_id"]
        if "cache-control" not in headers:
            # An answer belongs to its caller; one with a version may be kept by him, and asked about again.
            headers["Cache-Control"] = "private, no-cache" if "etag" in headers else "no-store"
        message["headers"] = headers.raw

    @staticmethod
    def _tell(scope: Scope, method: str, status: int, head_s: float, whole_s: float) -> None:
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        REQUESTS.labels(method, route, status).inc()
        SECONDS.labels(method, route).observe(head_s)
        write = _log.debug if scope["path"] in _QUIET else _log.info
        write(
            "api.request",
            method=method,
            path=problems.told_path(scope["path"]),
            route=route,
            status=status,
            ms=round(whole_s * 1000, 1),
            ip=(scope.get("client") or ("",))[0],
            **_who(scope["state"]),
        )


def _request_id(headers: Headers) -> str:
    """The caller's own X-Request-ID where it is short and plain, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _who(state: Mapping[str, object]) -> dict[str, str]:
    known: dict[str, str] = {}
    principal = state.get("principal")
    if isinstance(principal, Principal):
        known["principal"] = f"{principal.kind}:{principal.id}"
        if tenant := state.get("tenant") or principal.tenant:
            known["tenant"] = str(tenant)
    if problem := state.get("problem"):
        known["problem"] = str(problem)
    return known


def _fixed_headers(settings: ApiSettings) -> dict[str, str]:
    headers = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    }
    if settings.public_url.startswith("https:"):
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return headers
