"""Errors that only an HTTP surface has; the rest are the kinds of core.errors."""

from core.errors import Conflict, Invalid, MilkrunError, NotFound


class Unauthorized(MilkrunError):
    """No credentials, or credentials that are not good (any more)."""

    kind = "unauthorized"
    code = "unauthorized"


class TooMany(MilkrunError):
    """Over a limit; `retry_after_s` says when the next request would pass."""

    kind = "too_many"
    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PreconditionFailed(MilkrunError):
    """If-Match names another version than the one that is there."""

    kind = "precondition_failed"
    code = "precondition_failed"


class UnsupportedMedia(Invalid):
    """The body is of a kind that this route does not read; the message names those it does."""

    kind = "unsupported_media_type"
    code = "unsupported_media_type"


class TenantRequired(Invalid):
    """An operator asked for something that belongs to a tenant and named none."""

    kind = "bad_request"
    code = "tenant_required"


class UnknownTenant(NotFound):
    """There is no such tenant, or it is not the caller's; both read the same."""

    code = "tenant_not_found"


class InvalidCursor(Invalid):
    """A page's cursor is not one this list gave."""

    code = "invalid_cursor"


class InvalidRequest(Invalid):
    """The request's own form is wrong: text that cannot be stored, a body that is not JSON."""

    code = "invalid_request"


class KeyReused(Invalid):
    """An Idempotency-Key came again with another request."""

    code = "idempotency_key_reused"


class KeyInProgress(Conflict):
    """The first request with this Idempotency-Key is still at work."""

    code = "idempotency_in_progress"
