"""What the routes of command and control share: who acts, and the audit log."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path

from api.access import Scope
from api.fleet.given import auditor
from api.http.security import Caller, needs
from api.services import Services
from commands.drafting import Witness
from commands.model import Actor
from core.db import TenantTx

Reader = Annotated[Caller, needs(Scope.COMMANDS_READ)]
Sender = Annotated[Caller, needs(Scope.COMMANDS_SEND)]
Approver = Annotated[Caller, needs(Scope.COMMANDS_APPROVE)]
Writer = Annotated[Caller, needs(Scope.COMMANDS_WRITE)]

CommandId = Annotated[str, Path(max_length=64, description="`cmd_...`")]
BatchId = Annotated[str, Path(max_length=64, description="`bat_...`")]
TemplateId = Annotated[str, Path(max_length=64, description="`limit-speed`")]


def actor(caller: Caller) -> Actor:
    principal = caller.principal
    return Actor(principal.kind, principal.id, principal.name)


def witness(services: Services, caller: Caller, action: str) -> Witness:
    """Writes down in the change's own transaction who did it."""

    async def write(tx: TenantTx, target: str, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        await auditor(services).audit(tx, caller, action, target, before=before, after=after)

    return write
