"""What the notify service refuses."""

from core.errors import Conflict, Invalid, NotFound


class RecipientNotFound(NotFound):
    """No such recipient; another tenant's reads the same."""

    code = "recipient_not_found"


class SubscriptionNotFound(NotFound):
    """No such subscription, or it is not the caller's."""

    code = "subscription_not_found"


class PushTokenNotFound(NotFound):
    """No such push token, or it is not the caller's."""

    code = "push_token_not_found"


class NoticeNotFound(NotFound):
    """No such notice in this inbox."""

    code = "notice_not_found"


class AlertNotFound(NotFound):
    """No alert of that id was raised."""

    code = "alert_not_found"


class WebhookNotFound(NotFound):
    """No such webhook."""

    code = "webhook_not_found"


class DeliveryNotFound(NotFound):
    """No such delivery of this webhook."""

    code = "delivery_not_found"


class LinkNotFound(NotFound):
    """No such tracking link; forged, revoked and expired ones read the same."""

    code = "link_not_found"


class UnknownPlace(NotFound):
    """There is no such site, trip or stop in this tenant, or none the caller may name."""

    code = "place_not_found"


class SubscriptionExists(Conflict):
    """This recipient is subscribed to this site already: change that subscription."""

    code = "subscription_exists"


class WebhookDisabled(Conflict):
    """The webhook is disabled: enable it first."""

    code = "webhook_disabled"


class TooManySecrets(Conflict):
    """As many secrets sign for the webhook as may."""

    code = "too_many_secrets"


class TooManyPushTokens(Conflict):
    """The recipient has as many installations as he may."""

    code = "too_many_push_tokens"


class TooManyWebhooks(Conflict):
    """The tenant has as many webhooks as it may."""

    code = "too_many_webhooks"


class PreferencesMoved(Conflict):
    """Somebody changed it meanwhile; If-Match names an older version."""

    kind = "precondition_failed"
    code = "precondition_failed"


class InvalidNotify(Invalid):
    """A preference, subscription or token that cannot be; the message says what is allowed."""

    code = "invalid_notify"


class InvalidUrl(Invalid):
    """A webhook's URL that we would not send to; the message says why."""

    code = "invalid_webhook_url"


class InvalidSecretKey(Invalid):
    """The file of the keys that webhooks' secrets are sealed with is not what it should be, or not the right one."""

    code = "invalid_secret_key"


class InvalidLinkKey(Invalid):
    """The file of the key that signs tracking links is not what it should be."""

    code = "invalid_link_key"


class OverLong(Invalid):
    """A tracking link would live too long, or has ended already."""

    code = "invalid_link_expiry"
