"""What a live connection is refused for."""

from api.http.errors import TooMany, Unauthorized
from core.errors import Forbidden, Invalid


class TooManyConnections(TooMany):
    """A principal or a tenant has its live connections open already, over all API processes."""

    code = "too_many_connections"


class Draining(TooMany):
    """This process is about to stop."""

    kind = "unavailable"
    code = "unavailable"


class AuthMismatch(Forbidden):
    """A fresh token on an open connection speaks for somebody else."""

    code = "auth_mismatch"


class AuthRequired(Unauthorized):
    """The first message was no sign-in, or none came in time."""

    code = "auth_required"


class TicketRefused(Unauthorized):
    """A ticket that never was, was used, or is over; all read the same."""

    code = "unauthorized"


class InvalidMessage(Invalid):
    """A message that is not the protocol's; the text says which part."""

    code = "invalid_message"


class UnknownType(InvalidMessage):
    """There is no message of this type."""

    code = "unknown_type"


class UnknownChannel(Invalid):
    """There is no such channel."""

    code = "unknown_channel"


class UnknownSubscription(Invalid):
    """The connection has no subscription of that name."""

    code = "unknown_subscription"


class TooManySubscriptions(Invalid):
    """The connection has all the subscriptions it may have."""

    code = "too_many_subscriptions"
