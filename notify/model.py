"""Who is told what, when, how often, and what becomes of an attempt to tell it. Pure."""

import enum
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

from core.clock import epoch_ms


class Kind(enum.StrEnum):
    """What an alert says of the truck and the stop; eta raises them (`core.events.AlertRaised`)."""

    TEN_MINUTES = "10min"
    FIVE_MINUTES = "5min"
    DELAYED = "delayed"
    STARTED = "started"
    ARRIVED = "arrived"
    SKIPPED = "skipped"
    MISSED = "missed"


USUAL_KINDS = (Kind.TEN_MINUTES, Kind.FIVE_MINUTES, Kind.DELAYED, Kind.SKIPPED, Kind.MISSED)
"""What a subscription wants that does not say."""

LANGUAGES = ("en", "de")

_OFF_MATTERS = timedelta(days=7)
_SHORT, _LONG = timedelta(minutes=30), timedelta(hours=2)


class State(enum.StrEnum):
    """Of a delivery; docs/notify.md draws it."""

    PENDING = "pending"  # not tried yet
    FAILED = "failed"  # tried, and to be tried again
    SENT = "sent"  # taken by who it was for, or by the push service
    EXPIRED = "expired"  # no use any more before it could be sent
    DEAD = "dead"  # given up


class Verdict(enum.StrEnum):
    """What one attempt came to."""

    SENT = "sent"
    RETRY = "retry"
    REFUSED = "refused"  # and would be again
    GONE = "gone"  # the target is no more


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a channel says of one attempt. `status` is HTTP's, None where no answer came; `response` its beginning."""

    verdict: Verdict
    status: int | None = None
    error: str = ""
    response: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Pauses before each further attempt, in seconds; after the last one the delivery is dead."""

    pauses_s: Sequence[float]
    jitter: float = 0.2
    """share by which a pause is shorter or longer, so that many do not come back at once"""


# Google asks for at least 10 s after a 5xx and doubling; expiry ends most long before the last one.
PUSH = Policy((10, 20, 40, 80, 160, 320, 640))
# As Standard Webhooks recommends: eight attempts in a day and a bit.
WEBHOOK = Policy((5, 300, 1800, 7200, 18_000, 36_000, 36_000))
_MOST_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Next:
    """Where a delivery stands after an attempt; `at` None: settled."""

    state: State
    at: datetime | None = None


def after(
    policy: Policy, outcome: Outcome, *, attempts: int, now: datetime, expires_at: datetime | None, chance: float
) -> Next:
    """`attempts` counts this one; `chance` in [0, 1) decides the jitter; Retry-After lengthens a pause."""
    if outcome.verdict is Verdict.SENT:
        return Next(State.SENT)
    if outcome.verdict is Verdict.RETRY and expires_at is not None and expires_at <= now:
        return Next(State.EXPIRED)
    if outcome.verdict is not Verdict.RETRY or attempts > len(policy.pauses_s):
        return Next(State.DEAD)
    pause_s = policy.pauses_s[attempts - 1] * (1 + policy.jitter * (2 * chance - 1))
    pause_s = min(_MOST_WAIT_S, max(pause_s, outcome.retry_after_s or 0.0))
    at = now + timedelta(seconds=pause_s)
    if expires_at is not None and at >= expires_at:
        return Next(State.EXPIRED)
    return Next(State.FAILED, at)


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds a server asks us to wait: its Retry-After, a number or an HTTP date; None for anything else."""
    if header is None:
        return None
    if header.strip().isdecimal() and header.isascii():
        return min(_MOST_WAIT_S, float(header))
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without its zone
        return None


def expires_at(kind: str, raised_at: datetime, eta: datetime | None) -> datetime:
    """Until when it is of use to be told: of an arrival to come until then, of what has happened for half an hour."""
    if kind in {Kind.TEN_MINUTES, Kind.FIVE_MINUTES, Kind.DELAYED, Kind.STARTED} and eta is not None:
        return min(max(eta, raised_at + timedelta(minutes=1)), raised_at + _LONG)
    return raised_at + _SHORT


def is_quiet(at: datetime, zone: str, quiet_from: time | None, quiet_to: time | None) -> bool:
    """Whether the local time lies in [from, to), which may span midnight. From = to is never."""
    if quiet_from is None or quiet_to is None:
        return False
    local = at.astimezone(ZoneInfo(zone)).time()
    if quiet_from <= quiet_to:
        return quiet_from <= local < quiet_to
    return local >= quiet_from or local < quiet_to


def day_began(at: datetime, zone: str) -> datetime:
    """The last midnight on that zone's clocks, from which a daily cap counts."""
    return at.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)


def is_zone(name: str) -> bool:
    """Whether `name` is an IANA time zone this machine knows."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not known, no name at all, a folder
        return False
    return bool(name)


WEBHOOK_DISABLED = "webhook.disabled"
"""The kind of a notice to a tenant's admins."""

_WORDS = {
    "en": {
        "10min": "The truck arrives in about 10 minutes, at {time}.",
        "5min": "The truck arrives in about 5 minutes, at {time}.",
        "delayed": "The truck comes later than announced: now at about {time}.",
        "started": "The truck has set out and is expected at {time}.",
        "arrived": "The truck has arrived.",
        "skipped": "The truck does not come today.",
        "missed": "The truck has passed without stopping.",
    },
    "de": {
        "10min": "Das Fahrzeug kommt in etwa 10 Minuten, um {time} Uhr.",
        "5min": "Das Fahrzeug kommt in etwa 5 Minuten, um {time} Uhr.",
        "delayed": "Das Fahrzeug kommt später als angekündigt: jetzt etwa um {time} Uhr.",
        "started": "Das Fahrzeug ist losgefahren und wird um {time} Uhr erwartet.",
        "arrived": "Das Fahrzeug ist da.",
        "skipped": "Das Fahrzeug kommt heute nicht.",
        "missed": "Das Fahrzeug ist vorbeigefahren, ohne zu halten.",
    },
}
_WITHOUT_TIME = {
    "en": {
        "10min": "The truck arrives in about 10 minutes.",
        "5min": "The truck arrives in about 5 minutes.",
        "delayed": "The truck comes later than announced.",
        "started": "The truck has set out.",
    },
    "de": {
        "10min": "Das Fahrzeug kommt in etwa 10 Minuten.",
        "5min": "Das Fahrzeug kommt in etwa 5 Minuten.",
        "delayed": "Das Fahrzeug kommt später als angekündigt.",
        "started": "Das Fahrzeug ist losgefahren.",
    },
}


_OFF = {
    "en": {
        "gone": "{url} answered 410: it wants no more. Nothing is sent there until it is enabled again.",
        "failing": "{url} has failed for days. Nothing is sent there until it is enabled again.",
    },
    "de": {
        "gone": "{url} hat 410 geantwortet: Es will nichts mehr. Bis zum Wiedereinschalten geht nichts dorthin.",
        "failing": "{url} schlägt seit Tagen fehl. Bis zum Wiedereinschalten geht nichts dorthin.",
    },
}
_OFF_TITLE = {"en": "Webhook disabled", "de": "Webhook abgeschaltet"}


def webhook_disabled(recipient: "Recipient", url: str, reason: str, at: datetime) -> "Notice":
    """What an admin is told in the application; it is about no trip."""
    return Notice(
        id=new_id("ntc_", at),
        recipient=recipient.id,
        trip="",
        stop="",
        kind=WEBHOOK_DISABLED,
        alert="",
        site="",
        device="",
        title=_OFF_TITLE[recipient.language],
        body=_OFF[recipient.language][reason].format(url=url),
        eta=None,
        raised_at=at,
        expires_at=at + _OFF_MATTERS,
        held=None,
        created_at=at,
        read_at=None,
    )


def words(kind: str, language: str, eta: datetime | None, zone: str) -> str:
    """What a person reads. A kind this version does not know is told by its name."""
    if eta is None and kind in _WITHOUT_TIME[language]:
        return _WITHOUT_TIME[language][kind]
    time_of_day = "" if eta is None else eta.astimezone(ZoneInfo(zone)).strftime("%H:%M")
    return _WORDS[language].get(kind, kind).format(time=time_of_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Whom we tell, and how he wants it. `timezone` None: the site's; `daily_cap` None: the deployment's."""

    id: str
    name: str = ""
    language: str = "en"
    timezone: str | None = None
    quiet_from: time | None = None
    quiet_to: time | None = None
    daily_cap: int | None = None
    channels: frozenset[str] = frozenset({"in_app", "push"})
    version: int = 1
    created_at: datetime
    updated_at: datetime

    @property
    def is_user(self) -> bool:
        return self.id.startswith("usr_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A recipient is told of these kinds of alerts at a site."""

    id: str
    recipient: str
    site: str
    kinds: tuple[str, ...]
    version: int = 1
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PushToken:
    """An app's installation at FCM or APNs."""

    id: str
    recipient: str
    platform: str
    token: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One alert in one inbox. `held`: why it was not pushed."""

    id: str
    recipient: str
    trip: str
    stop: str
    kind: str
    alert: str
    site: str
    device: str
    title: str
    body: str
    eta: datetime | None
    raised_at: datetime
    expires_at: datetime
    held: str | None
    created_at: datetime
    read_at: datetime | None


def new_id(prefix: str, at: datetime) -> str:
    """An id that sorts by the time it was made: `prefix`, then 22 characters of 0-9 a-f."""
    return f"{prefix}{epoch_ms(at):012x}{secrets.token_hex(5)}"
