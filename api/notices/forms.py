"""Recipients, notices and webhooks as JSON."""

import hashlib
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.fleet.given import Form
from api.http.numbers import WHOLE, Number
from api.http.times import Moment, Time
from api.notices.given import Ref
from notify.delivery.store import Delivery
from notify.model import Kind, Notice, PushToken, Recipient, State, Subscription
from notify.service import Wishes
from notify.webhooks.service import KINDS
from notify.webhooks.store import SecretInfo, Webhook

_Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
_Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Zone = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")]
_Url = Annotated[str, StringConstraints(min_length=8, max_length=2048, pattern=r"^[!-~]+$")]
_WebhookKind = Annotated[str, Field(json_schema_extra={"enum": list(KINDS)})]
_WebhookKinds = Annotated[list[_WebhookKind], Field(min_length=1, max_length=len(KINDS))]
Kinds = Annotated[list[Kind], Field(min_length=1, max_length=len(Kind))]
Channel = Literal["in_app", "push"]


class Quiet(Form):
    """Hours without pushes, on the recipient's clock; `from` later than `to` spans midnight."""

    since: _Clock = Field(alias="from", examples=["21:00"])
    until: _Clock = Field(alias="to", examples=["05:30"])


class WishesForm(Form):
    """How somebody wants to be told. All of it takes the place of all of what was."""

    name: _Text = Field("", examples=["Anna at the upper farm"])
    language: Literal["en", "de"] = "en"
    timezone: _Zone | None = Field(None, description="IANA; null: that of the site", examples=["Europe/Vaduz"])
    quiet: Quiet | None = None
    daily_cap: Annotated[int, Field(ge=0, le=1000), WHOLE] | None = Field(
        None, description="Pushes a day; null: as the deployment has it"
    )
    channels: Annotated[list[Channel], Field(max_length=2)] = Field(
        ["in_app", "push"], description="Without `in_app` notices are kept and come as read"
    )

    def wishes(self) -> Wishes:
        quiet = self.quiet
        return Wishes(
            name=self.name,
            language=self.language,
            timezone=self.timezone,
            quiet_from=None if quiet is None else time.fromisoformat(quiet.since),
            quiet_to=None if quiet is None else time.fromisoformat(quiet.until),
            daily_cap=self.daily_cap,
            channels=frozenset(self.channels),
        )


class QuietBody(BaseModel):
    """Hours without pushes, on the recipient's clock."""

    model_config = ConfigDict(populate_by_name=True)

    since: str = Field(alias="from")
    until: str = Field(alias="to")


class RecipientBody(BaseModel):
    """Whom we tell, and how."""

    id: str = Field(description="A user's id, or `rcp_...` of somebody without an account")
    name: str
    language: str
    timezone: str | None
    quiet: QuietBody | None
    daily_cap: int | None
    channels: list[str]
    version: int
    created_at: Time
    updated_at: Time


class NewSubscription(Form):
    """Be told of what happens at a site."""

    site: Ref = Field(examples=["site_0190b2c3d4e5f6a7b8c9d0"])
    recipient: Ref | None = Field(None, description="Default: the caller")
    kinds: Kinds | None = Field(None, description="Default: 10min, 5min, delayed, skipped, missed")


class SubscriptionChange(Form):
    """Other kinds."""

    kinds: Kinds


class SubscriptionBody(BaseModel):
    """Who is told of which site."""

    id: str
    recipient: str
    site: str
    kinds: list[str]
    version: int
    created_at: Time
    updated_at: Time


class NewPushToken(Form):
    """An app's installation; it says so at each start."""

    platform: Literal["fcm", "apns"]
    token: Annotated[str, StringConstraints(min_length=8, max_length=4096, pattern=r"^[A-Za-z0-9_:.%=+-]+$")]
    recipient: Ref | None = Field(None, description="Default: the caller")


class PushTokenBody(BaseModel):
    """An installation we push to. The token itself is told to nobody."""

    id: str
    recipient: str
    platform: str
    ends_with: str = Field(description="The token's last characters")
    created_at: Time
    updated_at: Time = Field(description="When the app last said it is there")


class NoticeBody(BaseModel):
    """One alert in one's inbox."""

    id: str
    kind: str
    title: str
    body: str
    trip: str
    stop: str
    site: str
    device: str
    alert: str
    eta: Time | None
    raised_at: Time
    expires_at: Time = Field(description="Afterwards it is of no use to be told")
    held: Literal["quiet", "cap"] | None = Field(description="Why it was not pushed")
    created_at: Time
    read_at: Time | None


class Unread(BaseModel):
    """How many notices were not read yet."""

    unread: int


class ReadAll(Form):
    """Mark as read what came up to then."""

    until: Moment | None = Field(None, description="Default: now")


class NewWebhook(Form):
    """Where to tell, and of what."""

    url: _Url = Field(description="https, a public address", examples=["https://erp.example.com/milkrun"])
    kinds: _WebhookKinds = Field(examples=[["alert.10min", "stop.changed"]])
    description: _Text = ""


class WebhookChange(Form):
    """What is left out stays. Enabling forgets past failures."""

    url: _Url | None = None
    kinds: _WebhookKinds | None = None
    description: _Text | None = None
    status: Literal["active", "disabled"] | None = None


class Rotation(Form):
    """For how long the secrets so far sign beside the new one."""

    overlap_hours: Annotated[Number, Field(ge=0, le=168)] | None = Field(
        None, description="Default: the deployment's setting"
    )


class SecretBody(BaseModel):
    """A secret that signs; what it is was told once."""

    id: str
    created_at: Time
    expires_at: Time | None = Field(description="null: until the next rotation")


class WebhookBody(BaseModel):
    """A receiver of events."""

    id: str
    url: str
    description: str
    kinds: list[str]
    status: Literal["active", "disabled"]
    disabled_reason: str = Field(description="`by request`, `failing` for days, or `gone` (it answered 410)")
    failing_since: Time | None
    secrets: list[SecretBody] = Field(description="The newest first; empty in a list")
    version: int
    created_at: Time
    updated_at: Time


class WebhookMade(WebhookBody):
    """With its secret, this once."""

    secret: str = Field(examples=["whsec_..."])


class AttemptBody(BaseModel):
    """One try."""

    at: Time
    status: int | None
    error: str
    ms: int


class DeliveryBody(BaseModel):
    """One message on its way to one target."""

    id: str
    channel: Literal["fcm", "apns", "webhook"]
    target: str = Field(description="The webhook, or the push token")
    recipient: str | None = Field(description="Whose, of a push")
    message: str = Field(description="`webhook-id`, or the notice; the same over all attempts")
    alert: str | None
    kind: str
    state: State
    attempts: int
    next_at: Time | None = Field(description="When it is tried (again); null when it is settled")
    expires_at: Time | None
    status: int | None = Field(description="HTTP status of the last attempt")
    error: str | None
    created_at: Time
    settled_at: Time | None


class WholeDeliveryBody(DeliveryBody):
    """With what was sent and answered."""

    payload: str | None
    response: str | None = Field(description="The beginning of the last answer")
    history: list[AttemptBody] = Field(description="The last ten attempts")


def recipient(of: Recipient) -> RecipientBody:
    quiet = None
    if of.quiet_from is not None and of.quiet_to is not None:
        quiet = QuietBody(since=f"{of.quiet_from:%H:%M}", until=f"{of.quiet_to:%H:%M}")
    return RecipientBody(
        id=of.id,
        name=of.name,
        language=of.language,
        timezone=of.timezone,
        quiet=quiet,
        daily_cap=of.daily_cap,
        channels=sorted(of.channels),
        version=of.version,
        created_at=of.created_at,
        updated_at=of.updated_at,
    )


def subscription(of: Subscription) -> SubscriptionBody:
    return SubscriptionBody(
        id=of.id,
        recipient=of.recipient,
        site=of.site,
        kinds=list(of.kinds),
        version=of.version,
        created_at=of.created_at,
        updated_at=of.updated_at,
    )


def push_token(of: PushToken) -> PushTokenBody:
    return PushTokenBody(
        id=of.id,
        recipient=of.recipient,
        platform=of.platform,
        ends_with=of.token[-4:],
        created_at=of.created_at,
        updated_at=of.updated_at,
    )


def notice(of: Notice) -> NoticeBody:
    facts = {name: getattr(of, name) for name in NoticeBody.model_fields}
    return NoticeBody(**facts)


def webhook(of: Webhook, secrets: list[SecretInfo]) -> WebhookBody:
    return WebhookBody(**_webhook(of, secrets))


def webhook_made(of: Webhook, secrets: list[SecretInfo], secret: str) -> WebhookMade:
    return WebhookMade(**_webhook(of, secrets), secret=secret)


def delivery(of: Delivery) -> DeliveryBody:
    return DeliveryBody(**_delivery(of))


def whole_delivery(of: Delivery) -> WholeDeliveryBody:
    history = [AttemptBody(**each) for each in of.history]
    return WholeDeliveryBody(**_delivery(of), payload=of.payload, response=of.response, history=history)


def _webhook(of: Webhook, secrets: list[SecretInfo]) -> dict[str, Any]:
    return {
        "id": of.id,
        "url": of.url,
        "description": of.description,
        "kinds": list(of.kinds),
        "status": of.status,
        "disabled_reason": of.disabled_reason,
        "failing_since": of.failing_since,
        "secrets": [SecretBody(id=s.id, created_at=s.created_at, expires_at=s.expires_at) for s in secrets],
        "version": of.version,
        "created_at": of.created_at,
        "updated_at": of.updated_at,
    }


def _delivery(of: Delivery) -> dict[str, Any]:
    return {
        "id": of.id,
        "channel": of.channel,
        "target": of.target,
        "recipient": of.recipient or None,
        "message": of.event,
        "alert": of.alert,
        "kind": of.kind,
        "state": of.state,
        "attempts": of.attempts,
        "next_at": of.next_at,
        "expires_at": of.expires_at,
        "status": of.status,
        "error": of.error,
        "created_at": of.created_at,
        "settled_at": of.settled_at,
    }


def failing_part(of: Webhook) -> str:
    """Changes with what changes without a new version."""
    return hashlib.blake2b(f"{of.failing_since}".encode(), digest_size=8).hexdigest()
