"""Asking an engine over HTTP: one client, bounded answers, and every refusal as the error it means."""

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime

import httpx
import msgspec

from eta.routing.errors import EngineDown, EngineWrong, OverQuota

_MAX_BYTES = 16 * 1024 * 1024


def client(timeout_s: float) -> httpx.AsyncClient:
    """One for each engine. Follows no redirects: an answer comes from where it was asked, or not at all."""
    limits = httpx.Limits(max_connections=8, max_keepalive_connections=4)
    return httpx.AsyncClient(timeout=timeout_s, limits=limits, follow_redirects=False)


async def asked[T](
    http: httpx.AsyncClient,
    request: httpx.Request,
    form: type[T],
    *,
    also_read: frozenset[int] = frozenset(),
) -> T:
    """The answer in its form. Raises EngineDown, EngineWrong, OverQuota. `also_read`: statuses with an answer of it."""
    try:
        response = await http.send(request, stream=True)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
    except httpx.HTTPError as error:
        raise EngineDown(f"{request.url.host} does not answer: {type(error).__name__} {error}".rstrip()) from error
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise OverQuota(f"{request.url.host} takes no more calls for now", retry_after_s(response.headers))
    if status != httpx.codes.OK and status not in also_read:
        kind = EngineDown if status >= 500 else EngineWrong
        raise kind(f"{request.url.host} answered {status}")
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EngineWrong(f"{request.url.host} answered what is no answer: {error}") from error


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as seconds or as a date; None where it is missing or no such."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > _MAX_BYTES:
            raise EngineWrong(f"{response.url.host} answered more than {_MAX_BYTES} bytes")
    return bytes(body)
