"""From a request to an execution: what a template makes of it, and whether its devices may have it."""

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from commands import model, store
from commands.contract.template import Template, Type
from commands.errors import (
    TargetNotFound,
    TargetOutOfService,
    TemplateDeprecated,
    TemplateNotFound,
    TokenReused,
    TooManyOpenCommands,
)
from commands.model import Actor, Execution, Order, Terms
from core.clock import epoch_ms
from core.db import TenantTx
from core.events import CommandChanged
from core.settings import CommandsSettings
from core.tenancy import DeviceId, Thing

type Witness = Callable[[TenantTx, str, Mapping[str, Any] | None, Mapping[str, Any]], Awaitable[None]]
"""Told of a change inside its transaction: target, before, after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be sent. What is None is the template's."""

    template: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: int | None = None
    expires_s: int | None = None
    retries: int | None = None
    order: Order | None = None
    note: str = ""
    token: str | None = None

    def digest(self, target: object) -> str:
        """The same for the same request to the same target, whatever its token."""
        said = dataclasses.asdict(dataclasses.replace(self, token=None))
        return hashlib.sha256(json.dumps([said, target], sort_keys=True, default=list).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Draft:
    """A request that its template allows."""

    template: Template
    terms: Terms
    sender: Actor
    approval_within: timedelta | None

    def execution(
        self,
        thing: Thing,
        at: datetime,
        *,
        due_at: datetime | None = None,
        batch: str | None = None,
        token: str | None = None,
        digest: str | None = None,
    ) -> Execution:
        return model.begin(
            thing=thing,
            id_=new_id("cmd_", at),
            template=self.template.id,
            terms=self.terms,
            sender=self.sender,
            at=at,
            approval_within=self.approval_within,
            due_at=due_at,
            batch=batch,
            token=token,
            digest=digest,
        )


async def template_of(tx: TenantTx, id_: str) -> Template:
    """Raises TemplateNotFound."""
    return there(await store.template(tx, id_), id_)


def there(found: Template | None, id_: str) -> Template:
    """Raises TemplateNotFound."""
    if found is None:
        raise TemplateNotFound(f"there is no template {id_[:64]!r}")
    return found


def draft(template: Template, request: Request, sender: Actor, settings: CommandsSettings) -> Draft:
    """Raises TemplateDeprecated, InvalidParameters."""
    if template.is_deprecated:
        raise TemplateDeprecated(f"template {template.id} is out of use")
    filled = template.fill(request.parameters)
    terms = Terms(
        format=template.format,
        parameters=filled,
        binary=tuple(each.name for each in template.parameters if each.type is Type.BINARY and each.name in filled),
        dangerous=template.dangerous,
        order=request.order or template.order,
        timeout_s=template.timeout_s if request.timeout_s is None else request.timeout_s,
        expires_s=template.expires_s if request.expires_s is None else request.expires_s,
        retries=template.retries if request.retries is None else request.retries,
        note=request.note,
    )
    within = timedelta(seconds=settings.approval_s) if template.needs_approval else None
    return Draft(template, terms, sender, within)


async def require_targets(tx: TenantTx, devices: Collection[DeviceId]) -> None:
    """Raises TargetNotFound, TargetOutOfService."""
    found = await store.statuses(tx, devices)
    for device in devices:
        require_target(Thing(tx.tenant, device), found.get(device))


def require_target(thing: Thing, status: str | None) -> None:
    """Raises TargetNotFound, TargetOutOfService."""
    if status is None:
        raise TargetNotFound(f"there is no device {thing}")
    if status != "active":
        raise TargetOutOfService(f"{thing.device} is {status}: only an active device is sent commands")


async def require_room(tx: TenantTx, devices: Collection[DeviceId], settings: CommandsSettings) -> None:
    """Raises TooManyOpenCommands."""
    device, count = await store.most_open(tx, devices)
    if count >= settings.open_per_device:
        raise TooManyOpenCommands(f"{device} has {count} commands waiting or at work: that is as many as it may have")


def new_id(prefix: str, at: datetime) -> str:
    """Sorts by the time it was made, so that lists need no other order."""
    return f"{prefix}{epoch_ms(at):012x}{secrets.token_hex(5)}"


def reused(token: str | None) -> TokenReused:
    return TokenReused(f"the token {token!r} came with another request before; a new request takes a new one")


def news(execution: Execution) -> CommandChanged:
    return CommandChanged(
        thing=str(execution.thing),
        execution=execution.id,
        command=execution.template,
        state=execution.state.value,
        version=execution.version,
        at=epoch_ms(execution.updated_at),
        detail=execution.reason_code,
        reason=execution.reason,
    )


def facts(execution: Execution) -> dict[str, Any]:
    """What the audit log says of one."""
    return {
        "device": execution.thing.device,
        "template": execution.template,
        "state": execution.state.value,
        "parameters": dict(execution.terms.parameters),
        "note": execution.terms.note,
    }
