"""Bodies and text, looked at before any route: small enough, JSON as the standard has it, text that can be kept.

PostgreSQL's text holds no NUL, UTF-8 no half of a surrogate pair, and JSON no NaN; Python would let all three in.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import problems
from api.http.problems import FieldError

_SURROGATE = re.compile("[\ud800-\udfff]")


class Bodies:
    """Reads a request's body whole, refuses what is no good, and hands it on."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, headers = Request(scope), Headers(scope=scope)
        body = b""
        if "content-length" in headers or "transfer-encoding" in headers:
            try:
                read = await self._read(headers, receive)
            except ClientDisconnect:
                return
            if read is None:
                refusal = problems.problem(
                    request, 413, "too_large", f"a request body has at most {self._max_bytes:,} bytes"
                )
                await refusal(scope, receive, send)
                return
            body = read
        if errors := [*_address_errors(scope), *_body_errors(headers.get("content-type", ""), body)]:
            await problems.invalid(request, errors)(scope, receive, send)
            return
        await self._app(scope, _given(body, receive), send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body, or None when it is too large. Raises ClientDisconnect when its end does not come."""
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            return None
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def _given(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _address_errors(scope: Scope) -> Iterator[FieldError]:
    for where, raw in (("path", scope.get("raw_path") or b""), ("query", scope["query_string"])):
        text = unquote_to_bytes(raw)
        if b"\0" in text:
            yield _error(where, "", "a NUL character cannot be part of it")
        try:
            text.decode()
        except UnicodeDecodeError:
            yield _error(where, "", "this is not UTF-8")


def _body_errors(content_type: str, body: bytes) -> Iterator[FieldError]:
    if not body:
        return
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            yield from _text_errors(json.loads(body, parse_constant=_refuse), "")
        except RecursionError:
            yield _error("body", "", "this is nested too deeply")
        except ValueError as error:
            yield _error("body", "", f"this is not JSON: {error}")
    elif kind == "application/x-www-form-urlencoded" and b"\0" in unquote_to_bytes(body):
        yield _error("body", "", "a NUL character cannot be part of it")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _text_errors(value: Any, at: str) -> Iterator[FieldError]:
    match value:
        case str():
            if "\0" in value:
                yield _error("body", at, "a NUL character (\\u0000) cannot be stored")
            if _SURROGATE.search(value):
                yield _error("body", at, "half of a surrogate pair (\\ud800 to \\udfff) is no character")
        case dict():
            for name, member in value.items():
                yield from _text_errors(name, at)
                yield from _text_errors(member, f"{at}.{_SURROGATE.sub('?', name)}".lstrip("."))
        case list():
            for number, member in enumerate(value):
                yield from _text_errors(member, f"{at}.{number}".lstrip("."))


def _error(where: str, at: str, message: str) -> FieldError:
    return FieldError(**{"in": where}, at=at, message=message)
