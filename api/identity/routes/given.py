"""What identity's routes are given, and forms that several of them share."""

from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import StringConstraints

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
