"""Firebase Cloud Messaging, HTTP v1. Why neither pyfcm nor an SDK: docs/adr/0023.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages and .../ErrorCode
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, override

import httpx
import msgspec
from google.auth import aws, transport
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.oauth2 import service_account

from core.clock import Clock, epoch_ms
from core.errors import Invalid
from notify import model
from notify.delivery.store import Message
from notify.model import Outcome, Verdict

URL = "https://fcm.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_QUOTA_PAUSE_S = 60.0
"""Google's own default where a 429 says nothing else."""


class InvalidPushCredentials(Invalid):
    """A push service's key file cannot be read or is not of the kind it should be."""

    code = "invalid_push_credentials"


class _Answer(transport.Response):
    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    @property
    @override
    def status(self) -> int:
        return self._answer.status_code

    @property
    @override
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    @property
    @override
    def data(self) -> bytes:
        return self._answer.content


class _Transport(transport.Request):
    """What google-auth asks for tokens with; it knows no asynchronous httpx, so it works in a thread."""

    def __init__(self) -> None:
        self._client = httpx.Client(timeout=10.0)

    @override
    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> transport.Response:
        try:
            return _Answer(self._client.request(method, url, content=body, headers=headers, timeout=timeout or 10.0))
        except httpx.HTTPError as error:
            raise TransportError(str(error)) from error  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._client.close()


class _Violation(msgspec.Struct):
    field: str = ""


class _Detail(msgspec.Struct, rename={"error_code": "errorCode", "violations": "fieldViolations"}):
    error_code: str = ""
    violations: list[_Violation] = []


class _Error(msgspec.Struct):
    status: str = ""
    message: str = ""
    details: list[_Detail] = []


class _Body(msgspec.Struct):
    error: _Error | None = None
    name: str = ""


class Fcm:
    """A channel. `close` when done. Raises InvalidPushCredentials for a file that is no Google credentials."""

    def __init__(self, credentials_file: Path, *, clock: Clock, url: str = URL, project: str = "") -> None:
        self._credentials, found = _credentials(credentials_file)
        project = project or found
        if not project:
            raise InvalidPushCredentials(f"{credentials_file} names no project: set MILKRUN_NOTIFY_FCM_PROJECT")
        self._send_url = f"{url}/v1/projects/{project}/messages:send"
        self._client = httpx.AsyncClient(http2=True, timeout=10.0)
        self._transport = _Transport()
        self._refreshing = asyncio.Lock()
        self._clock = clock

    async def close(self) -> None:
        await self._client.aclose()
        self._transport.close()

    async def send(self, message: Message) -> Outcome:
        """One attempt."""
        try:
            headers = {"Authorization": f"Bearer {await self._token()}"}
            answer = await self._client.post(self._send_url, json=body(message, self._clock()), headers=headers)
        except GoogleAuthError as error:
            return Outcome(Verdict.RETRY, error=f"no access token: {error}")
        except httpx.HTTPError as error:
            return Outcome(Verdict.RETRY, error=f"{type(error).__name__}: {error}")
        if answer.status_code == 401:
            self._credentials.token = None  # revoked, or our clock is off: ask for another
        return judge(answer, self._clock())

    async def _token(self) -> str:
        """Raises GoogleAuthError."""
        async with self._refreshing:
            if not self._credentials.valid:
                await asyncio.to_thread(self._credentials.refresh, self._transport)
            return str(self._credentials.token)


def _credentials(file: Path) -> tuple[Credentials, str]:
    """Credentials for FCM and the project they name: a service account's key, or from AWS without a key of Google's."""
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        match facts.get("type"):
            case "service_account":
                account = service_account.Credentials.from_service_account_info(facts, scopes=[_SCOPE])  # type: ignore[no-untyped-call]
                return account, facts.get("project_id", "")
            case "external_account" if facts["credential_source"].get("environment_id", "").startswith("aws"):
                return aws.Credentials.from_info(facts, scopes=[_SCOPE]), ""  # type: ignore[no-untyped-call]
    except (GoogleAuthError, AttributeError, KeyError, ValueError, OSError) as error:
        raise InvalidPushCredentials(f"{file} holds no Google credentials: {error}") from error
    raise InvalidPushCredentials(f"{file} is neither a service account's key nor an external account of AWS")


def body(message: Message, now: datetime) -> dict[str, Any]:
    """The request. A device keeps four collapse keys at most, so that of a trip serves all its notices; the tag lets a
    later notice of a stop take the place of an earlier one on the screen.
    """
    left = (message.expires_at or now) - now
    facts = {
        "notice": message.event,
        "kind": message.kind,
        "trip": message.trip,
        "stop": message.stop,
        "site": message.site,
    }
    if message.eta is not None:
        facts["eta"] = str(epoch_ms(message.eta))
    return {
        "message": {
            "token": message.token,
            "notification": {"title": message.title, "body": message.body},
            "data": facts,
            "android": {
                "collapse_key": message.trip,
                "priority": "HIGH",
                "ttl": f"{max(0, left // timedelta(seconds=1))}s",
                "notification": {"tag": message.stop},
            },
        }
    }


def judge(answer: httpx.Response, now: datetime) -> Outcome:
    """What an answer means."""
    status, text = answer.status_code, answer.text
    try:
        said = msgspec.json.decode(answer.content, type=_Body)
    except msgspec.MsgspecError:
        # A proxy's page, or half an answer: nobody has said that the message was taken, or that it was refused.
        return Outcome(Verdict.RETRY, status, "the answer is not FCM's", text)
    if status == 200 and said.name:
        return Outcome(Verdict.SENT, status, response=text)
    error = said.error or _Error()
    code = next((each.error_code for each in error.details if each.error_code), error.status)
    told = f"{code}: {error.message}" if error.message else code or "the answer is not FCM's"
    wait_s = model.retry_after_s(answer.headers.get("retry-after"), now)
    if code in {"UNREGISTERED", "SENDER_ID_MISMATCH"} or (code == "INVALID_ARGUMENT" and _is_about_the_token(error)):
        return Outcome(Verdict.GONE, status, told, text)
    if status == 429:
        return Outcome(Verdict.RETRY, status, told, text, _QUOTA_PAUSE_S if wait_s is None else wait_s)
    if status >= 500 or status == 401 or not code:
        return Outcome(Verdict.RETRY, status, told, text, wait_s)
    return Outcome(Verdict.REFUSED, status, told, text)


def _is_about_the_token(error: _Error) -> bool:
    """A mistake in the rest of a message would say INVALID_ARGUMENT too, and must not cost everybody's tokens."""
    fields = {violation.field for detail in error.details for violation in detail.violations}
    return "message.token" in fields or "registration token" in error.message.lower()
