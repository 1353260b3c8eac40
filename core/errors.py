"""One error base and five kinds. An edge (HTTP, CLI, MQTT) maps the kind; clients rely on the stable `code`."""

from typing import ClassVar


class MilkrunError(Exception):
    """Base of every error a caller may act on. `code` never changes once published; the message may."""

    code: ClassVar[str]
    kind: ClassVar[str]


class NotFound(MilkrunError):
    """It does not exist, or it belongs to somebody else; both read the same from outside."""

    kind = "not_found"
    code = "not_found"


class Conflict(MilkrunError):
    """It contradicts what is there: a duplicate, an old version, a state that does not allow the move."""

    kind = "conflict"
    code = "conflict"


class Invalid(MilkrunError):
    """The input is wrong; the message says what was wrong and what is allowed."""

    kind = "invalid"
    code = "invalid"


class Forbidden(MilkrunError):
    """The caller is known and may not do this."""

    kind = "forbidden"
    code = "forbidden"


class Unavailable(MilkrunError):
    """A part Milkrun needs is not there right now; trying again later may help."""

    kind = "unavailable"
    code = "unavailable"
