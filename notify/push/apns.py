"""Apple Push Notification service: HTTP/2 with a provider token (ES256).

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

import hashlib
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from core.clock import Clock, epoch_ms
from notify import model
from notify.delivery.store import Message
from notify.model import Outcome, Verdict
from notify.push.fcm import InvalidPushCredentials

URL = "https://api.push.apple.com"
# Apple refuses a token older than an hour, and one that changes more often than every 20 minutes.
_TOKEN_LIVES = timedelta(minutes=45)
_MOST_COLLAPSE_BYTES = 64
_GONE = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken"})
_OURS_TO_MEND = frozenset({"ExpiredProviderToken", "InvalidProviderToken", "MissingProviderToken", "BadCertificate"})
_NAMESPACE = uuid.UUID("0d6c1b1e-8f0e-4f3c-9c38-6c1f2f6d7a55")


class _Body(msgspec.Struct):
    reason: str = ""
    timestamp: int | None = None


class Apns:
    """A channel on one HTTP/2 connection. `topic` is the app's bundle id. Raises InvalidPushCredentials."""

    def __init__(self, key_file: Path, *, key_id: str, team_id: str, topic: str, clock: Clock, url: str = URL) -> None:
        try:
            self._key = ECKey.import_key(key_file.read_bytes())
        except (OSError, ValueError, JoseError) as error:
            raise InvalidPushCredentials(f"{key_file} holds no private key of Apple's (.p8): {error}") from error
        if not (key_id and team_id and topic):
            raise InvalidPushCredentials("APNs needs MILKRUN_NOTIFY_APNS_KEY_ID, _APNS_TEAM_ID and _APNS_TOPIC too")
        self._key_id = key_id
        self._team_id = team_id
        self._topic = topic
        self._url = url
        self._clock = clock
        self._client = httpx.AsyncClient(http1=False, http2=True, timeout=10.0)
        self._proof: tuple[str, datetime] | None = None

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, message: Message) -> Outcome:
        """One attempt."""
        now = self._clock()
        expires_at = message.expires_at or now
        headers = {
            "authorization": f"bearer {self._provider_token(now)}",
            "apns-topic": self._topic,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str(epoch_ms(expires_at) // 1000),
            "apns-collapse-id": collapse_id(message.trip),
            "apns-id": str(uuid.uuid5(_NAMESPACE, message.id)),  # the same for every attempt
        }
        try:
            answer = await self._client.post(
                f"{self._url}/3/device/{message.token}", json=body(message), headers=headers
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Outcome(Verdict.RETRY, error=f"{type(error).__name__}: {error}")
        outcome = judge(answer, message.token_at, now)
        if outcome.error in _OURS_TO_MEND:
            self._proof = None
        return outcome

    def _provider_token(self, now: datetime) -> str:
        if self._proof is None or now - self._proof[1] >= _TOKEN_LIVES:
            claims = {"iss": self._team_id, "iat": epoch_ms(now) // 1000}
            header = {"alg": "ES256", "kid": self._key_id}
            self._proof = jwt.encode(header, claims, self._key, algorithms=["ES256"]), now
        return self._proof[0]


def collapse_id(trip: str) -> str:
    """The trip's id, or its digest where that is longer than Apple takes."""
    return trip if len(trip.encode()) <= _MOST_COLLAPSE_BYTES else hashlib.sha256(trip.encode()).hexdigest()


def body(message: Message) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "aps": {
            "alert": {"title": message.title, "body": message.body},
            "sound": "default",
            "interruption-level": "time-sensitive",
            "thread-id": message.trip,
        },
        "notice": message.event,
        "kind": message.kind,
        "trip": message.trip,
        "stop": message.stop,
        "site": message.site,
    }
    if message.eta is not None:
        facts["eta"] = epoch_ms(message.eta)
    return facts


def judge(answer: httpx.Response, token_at: datetime | None, now: datetime) -> Outcome:
    """What an answer means. `token_at`: when the app last said that the token is good."""
    status, text = answer.status_code, answer.text
    if status == 200:
        return Outcome(Verdict.SENT, status, response=answer.headers.get("apns-id", ""))
    try:
        said = msgspec.json.decode(answer.content, type=_Body)
    except msgspec.MsgspecError:
        said = _Body()
    wait_s = model.retry_after_s(answer.headers.get("retry-after"), now)
    if said.reason in _GONE or (status == 410 and not said.reason):
        was_so_at_ms = said.timestamp
        if token_at is not None and was_so_at_ms is not None and epoch_ms(token_at) > was_so_at_ms:
            # It was registered again since: the answer is about an installation that is no more.
            return Outcome(Verdict.RETRY, status, said.reason, text, wait_s)
        return Outcome(Verdict.GONE, status, said.reason or "Unregistered", text)
    if not said.reason or status == 429 or status >= 500 or said.reason in _OURS_TO_MEND:
        return Outcome(Verdict.RETRY, status, said.reason or "the answer is not Apple's", text, wait_s)
    return Outcome(Verdict.REFUSED, status, said.reason, text)
