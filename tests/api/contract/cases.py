"""What Schemathesis cannot make up by itself: loaded into its process by SCHEMATHESIS_HOOKS."""

import uuid
from typing import Any

import schemathesis

_READ_BY_ONE_DEPENDENCY = {"milkrun-tenant", "tenant", "Idempotency-Key", "limit"}
_ASKED_IN_FULL = {"sites", "webhooks"}


@schemathesis.hook
def before_load_schema(_context: Any, raw_schema: dict[str, Any]) -> None:
    """Leaves out what is asked elsewhere, a third of all cases.

    A cursor is a name that the server gave; wrong ones are refused, as tests/api/http proves. What one dependency reads
    for all operations is varied with two tags, which have every kind of operation, and left out where it is the same.
    If-Match is varied where there is no body: made up, it is refused before a body is looked at.
    """
    operations = [operation for methods in raw_schema["paths"].values() for operation in methods.values()]
    in_full = [operation for operation in operations if _ASKED_IN_FULL & set(operation["tags"])]
    asked = [
        each for operation in in_full for each in operation["parameters"] if each["name"] in _READ_BY_ONE_DEPENDENCY
    ]
    for operation in operations:
        names = {"cursor", "if-match"} if "requestBody" in operation else {"cursor"}
        left_out = [] if operation in in_full else asked
        given = operation.get("parameters", ())
        operation["parameters"] = [each for each in given if each["name"] not in names and each not in left_out]


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """A key names one request alone."""
    if case.headers and case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex


@schemathesis.serializer("text/csv")
def csv_text(_context: Any, value: Any) -> bytes:
    """A file is sent as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
