"""What identity's routes are given, and forms that several of them share."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import PlainSerializer, StringConstraints, WithJsonSchema

from api.identity.service import IdentityService


def _identity(request: Request) -> IdentityService:
    identity = request.app.state.services.identity
    assert isinstance(identity, IdentityService)
    return identity


Identity = Annotated[IdentityService, Depends(_identity)]
"""In a route: `identity: Identity`."""

# Text that a person typed: no control characters, of which PostgreSQL refuses one and a terminal obeys the others.
Text = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^\x00-\x1f\x7f]*$")]
Password = Annotated[str, StringConstraints(max_length=256)]
AccountId = Annotated[str, Path(max_length=64, description="Id as it was answered when the account was made")]


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    PlainSerializer(_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time in an answer: UTC, to the millisecond, `2026-11-21T20:30:00.123Z`."""
