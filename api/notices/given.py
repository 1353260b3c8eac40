"""What the routes of notices share: whose inbox, who may look after whom, and the audit log."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from pydantic import StringConstraints

from api.access import Role, Scope
from api.fleet.given import auditor
from api.http.security import Caller, InsufficientScope
from api.services import Services
from core.db import TenantTx
from core.errors import Conflict
from notify.service import Witness

Id = Annotated[str, Path(max_length=64, description="Id as it was answered when it was made")]
Ref = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,12}_[0-9a-z]{8,40}$")]
"""An id in a body or query."""


class NoInbox(Conflict):
    """A program has no inbox of its own: it names the recipient it acts for."""

    code = "no_inbox"


def me(caller: Caller) -> str | None:
    """The caller as a recipient; None for programs, and for operators, who belong to no tenant."""
    principal = caller.principal
    return principal.id if principal.kind == "user" and principal.tenant is not None else None


def my_inbox(caller: Caller) -> str:
    """Raises NoInbox."""
    mine = me(caller)
    if mine is None:
        raise NoInbox("this caller has no inbox: users of a tenant have one")
    return mine


def may_look_after_others(caller: Caller) -> bool:
    return caller.principal.may(Scope.ALERTS_WRITE) and caller.principal.role is not Role.SITE


def recipient_of(caller: Caller, named: str | None) -> str:
    """Whom a change is about: the caller himself, or whom he looks after. Raises NoInbox, InsufficientScope."""
    if named is None or named == me(caller):
        return my_inbox(caller)
    if not may_look_after_others(caller):
        raise InsufficientScope(f"for another recipient this needs the scope {Scope.ALERTS_WRITE}")
    return named


def witness(services: Services, caller: Caller) -> Witness:
    """Writes a change into the audit log, in the change's own transaction."""

    async def write(
        tx: TenantTx, action: str, target: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        await auditor(services).audit(tx, caller, action, target, before=before, after=after)

    return write
