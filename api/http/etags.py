"""Versions of resources: an `ETag` with every read, `If-Match` against lost updates, 304 for what is known already."""

import re
from typing import Annotated

from fastapi import Depends, Header, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.errors import PreconditionFailed

_TAG = re.compile(r'"v(\d{1,18})(?:-[0-9a-f]{1,64})?"')


def etag(version: int, also: str = "") -> str:
    """`also` is a digest (hex) of what an answer shows beside what is versioned; If-Match does not look at it."""
    return f'"v{version}-{also}"' if also else f'"v{version}"'


class _Tagged:
    def __init__(self, response: Response) -> None:
        self._response = response

    def __call__(self, version: int, *, also: str = "") -> None:
        self._response.headers["ETag"] = etag(version, also)


async def _tagged(
    response: Response,
    if_none_match: Annotated[
        str | None, Header(description="ETags already known; one that still holds is answered with 304")
    ] = None,
) -> _Tagged:
    del if_none_match  # Conditional looks at it, once the answer's ETag is known
    return _Tagged(response)


Tagged = Annotated[_Tagged, Depends(_tagged)]
"""In a GET: `tagged: Tagged`, then `tagged(row.version)`. The answer gets its ETag, and a known one becomes a 304."""


async def _expected(
    if_match: Annotated[
        str | None, Header(description="ETag of the version this change is meant for; without it any will do")
    ] = None,
) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    found = _TAG.fullmatch(if_match.strip())
    if found is None:
        raise PreconditionFailed('If-Match takes one ETag as it was answered, such as "v3"')
    return int(found[1])


Expected = Annotated[int | None, Depends(_expected)]
"""In a change: `expected: Expected`, the version the caller has seen, or None when he does not care."""


def require(expected: int | None, version: int) -> None:
    """Raises PreconditionFailed when the caller has seen another version than `version`."""
    if expected is not None and expected != version:
        raise PreconditionFailed(f"this has changed: it is at {etag(version)} now, not at {etag(expected)}")


class Conditional:
    """Answers a GET with 304 where If-None-Match names the ETag of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        known = {tag.strip().removeprefix("W/") for tag in Headers(scope=scope).get("if-none-match", "").split(",")}
        is_known = False

        async def conditional(message: Message) -> None:
            nonlocal is_known
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = MutableHeaders(raw=message["headers"])
                tag = headers.get("etag", "").removeprefix("W/")
                is_known = bool(tag) and (tag in known or "*" in known)
                if is_known:
                    for name in ("content-length", "content-type"):
                        del headers[name]
                    message = {**message, "status": 304, "headers": headers.raw}
            elif is_known and message["type"] == "http.response.body":
                message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            await send(message)

        await self._app(scope, receive, conditional)
