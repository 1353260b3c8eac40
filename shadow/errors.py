"""What the shadow service refuses: AWS IoT's codes and messages, each a kind of ours with a stable code."""

from typing import ClassVar

from core.errors import Conflict, Forbidden, Invalid, MilkrunError, NotFound, Unavailable


class ShadowRefused(MilkrunError):
    """Base. `aws_code` and the message are what a device reads on its `rejected` topic."""

    aws_code: ClassVar[int]


class InvalidShadowRequest(ShadowRefused, Invalid):
    """The request is no update document; the message is AWS IoT's."""

    kind = "bad_request"
    code = "invalid_shadow_request"
    aws_code = 400


class ShadowForbidden(ShadowRefused, Forbidden):
    """The device is not in service, or the shadow is one that Milkrun writes itself."""

    code = "shadow_forbidden"
    aws_code = 403

    def __init__(self) -> None:
        super().__init__("Forbidden")


class ThingNotFound(ShadowRefused, NotFound):
    """No such device; a device of another tenant reads the same."""

    code = "device_not_found"
    aws_code = 404

    def __init__(self) -> None:
        super().__init__("Thing not found")


class ShadowNotFound(ShadowRefused, NotFound):
    """The device has no such shadow."""

    code = "shadow_not_found"
    aws_code = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"No shadow exists with name: '{name}'")


class ShadowVersionConflict(ShadowRefused, Conflict):
    """The request names a version that is not the current one. Nothing was written."""

    code = "shadow_version_conflict"
    aws_code = 409

    def __init__(self) -> None:
        super().__init__("Version conflict")


class ShadowVersionMoved(ShadowRefused, Conflict):
    """The version the caller has seen is not the current one any more. Nothing was written."""

    kind = "precondition_failed"
    code = "precondition_failed"
    aws_code = 412


class ShadowTooLarge(ShadowRefused, Invalid):
    """Desired and reported together would be larger than a shadow may be. Nothing was written."""

    kind = "too_large"
    code = "shadow_too_large"
    aws_code = 413

    def __init__(self) -> None:
        super().__init__("The payload exceeds the maximum size allowed")


class ShadowNotUtf8(ShadowRefused, Invalid):
    """The request is not UTF-8."""

    kind = "unsupported_media_type"
    code = "shadow_not_utf8"
    aws_code = 415

    def __init__(self) -> None:
        super().__init__("Unsupported documented encoding; supported encoding is UTF-8")


class TooManyShadowRequests(ShadowRefused, Unavailable):
    """The device has more requests unanswered than one connection may have, or AWS IoT is asked too often."""

    kind = "too_many"
    code = "too_many_shadow_requests"
    aws_code = 429

    def __init__(self) -> None:
        super().__init__("Too many requests")


class ShadowFailed(ShadowRefused, Unavailable):
    """A defect of ours; the request is kept as a dead letter."""

    code = "shadow_failed"
    aws_code = 500

    def __init__(self) -> None:
        super().__init__("Internal service failure")


class ShadowMoved(Conflict):
    """Somebody else wrote a shadow of this transaction meanwhile: read again and try again."""

    code = "shadow_moved"
