"""What Schemathesis cannot make up by itself: loaded into its process by SCHEMATHESIS_HOOKS."""

import uuid
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(_context: Any, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Names that the server gave or that name one request alone; wrong ones are refused, as tests/api/http proves."""
    if case.headers and case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
    if case.query:
        case.query.pop("cursor", None)


@schemathesis.serializer("text/csv")
def csv_text(_context: Any, value: Any) -> bytes:
    """A file is sent as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
