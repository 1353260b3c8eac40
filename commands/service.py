"""What a tenant may do with templates and with commands to one device, whoever asks: REST, rules, the command line."""

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

from commands import model, store
from commands.contract import template as contract
from commands.contract.template import Template
from commands.drafting import (
    Request,
    Witness,
    draft,
    facts,
    news,
    require_room,
    require_target,
    reused,
    template_of,
    there,
)
from commands.errors import CommandNotFound, TargetNotFound, TemplateExists, TemplateMoved, TemplateNotFound
from commands.groups import GroupService, Selector
from commands.model import Actor, Execution
from commands.store import Wanted
from core import outbox
from core.clock import Clock
from core.db import Database
from core.settings import CommandsSettings
from core.tenancy import TenantId, Thing


class TemplateService:
    """Added, changed, and put out of use; never removed, since executions name them."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, tenant: TenantId, new: Template, *, witness: Witness | None = None) -> Template:
        """Raises InvalidTemplate, TemplateExists."""
        at = self._clock()
        made = dataclasses.replace(contract.checked(new), version=1, created_at=at, updated_at=at)
        async with self._database.tenant(tenant) as tx:
            if not await store.add_template(tx, made):
                raise TemplateExists(f"there is a template {made.id} already")
            if witness:
                await witness(tx, made.id, None, _facts(made))
        return made

    async def change(
        self,
        tenant: TenantId,
        id_: str,
        change: Callable[[Template], Template],
        *,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Template:
        """What was sent before keeps what it was sent with. Raises TemplateNotFound, TemplateMoved, InvalidTemplate."""
        async with self._database.tenant(tenant) as tx:
            before = await store.template(tx, id_, lock=True)
            if before is None:
                raise TemplateNotFound(f"there is no template {id_[:64]!r}")
            if expected is not None and expected != before.version:
                raise TemplateMoved(f"this has changed: it is at version {before.version} now, not at {expected}")
            after = contract.checked(change(before))
            if after != before:
                after = dataclasses.replace(after, version=before.version + 1, updated_at=self._clock())
                await store.save_template(tx, after)
                if witness:
                    await witness(tx, id_, _facts(before), _facts(after))
        return after

    async def get(self, tenant: TenantId, id_: str) -> Template:
        """Raises TemplateNotFound."""
        async with self._database.tenant(tenant) as tx:
            return await template_of(tx, id_)

    async def listed(
        self, tenant: TenantId, *, deprecated: bool | None = None, after: str = "", limit: int = 100
    ) -> list[Template]:
        """By name, those after the name `after`."""
        async with self._database.tenant(tenant) as tx:
            return await store.templates(tx, deprecated=deprecated, after=after, limit=limit)


class CommandService:
    """Sending means writing down; `python -m commands` does the rest. `templates` and `groups` are served beside."""

    def __init__(
        self, *, database: Database, settings: CommandsSettings, clock: Clock, selector: Selector | None = None
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self.templates = TemplateService(database=database, clock=clock)
        self.groups = GroupService(database=database, settings=settings, clock=clock, selector=selector)

    async def send(self, thing: Thing, request: Request, sender: Actor, *, witness: Witness | None = None) -> Execution:
        """Put a command into the device's queue, or before whoever approves it.

        The same token with the same request gives the same execution. Raises TemplateNotFound, TemplateDeprecated,
        InvalidParameters, TargetNotFound, TargetOutOfService, TooManyOpenCommands, TokenReused.
        """
        at, digest = self._clock(), request.digest(thing.device)
        async with self._database.tenant(thing.tenant) as tx:
            asked = await store.briefing(tx, request.template, thing.device, request.token, at)
            if not asked.is_known:
                drafted = draft(there(asked.template, request.template), request, sender, self._settings)
                require_target(thing, asked.status)
                execution = drafted.execution(thing, at, token=request.token, digest=digest)
                if await store.add(tx, [execution], room=self._settings.open_per_device):
                    await outbox.add(tx, [news(execution)])
                    if witness:
                        await witness(tx, execution.id, None, facts(execution))
                    return execution
            known = None if request.token is None else await store.by_token(tx, request.token)
            if known is None:
                await require_room(tx, [thing.device], self._settings)
            assert known is not None, "an id of our own was there already"
            if known.digest != digest:
                raise reused(request.token)
            return known

    async def get(self, tenant: TenantId, id_: str) -> Execution:
        """Raises CommandNotFound."""
        async with self._database.tenant(tenant) as tx:
            found = await store.one(tx, id_)
        if found is None:
            raise CommandNotFound(f"there is no command {id_[:64]!r}")
        return found

    async def listed(
        self, tenant: TenantId, wanted: Wanted, *, after: str | None = None, limit: int = 100
    ) -> list[Execution]:
        """Newest first, those after the id `after`."""
        async with self._database.tenant(tenant) as tx:
            return await store.listed(tx, wanted, after=after, limit=limit)

    async def of_device(
        self, thing: Thing, *, is_open: bool | None = None, after: str | None = None, limit: int = 100
    ) -> list[Execution]:
        """As `listed`. Raises TargetNotFound."""
        async with self._database.tenant(thing.tenant) as tx:
            if not await store.statuses(tx, [thing.device]):
                raise TargetNotFound(f"there is no device {thing}")
            wanted = Wanted(device=thing.device, is_open=is_open)
            return await store.listed(tx, wanted, after=after, limit=limit)

    async def cancel(
        self, tenant: TenantId, id_: str, by: Actor, reason: str = "", *, witness: Witness | None = None
    ) -> Execution:
        """Call it back. Raises CommandNotFound, CommandEnded."""
        return await self._decide(tenant, id_, lambda each, at: model.cancel(each, by, at, reason), witness)

    async def approve(self, tenant: TenantId, id_: str, by: Actor, *, witness: Witness | None = None) -> Execution:
        """Agree as a second person. Raises CommandNotFound, NotAwaitingApproval, OwnApproval."""
        return await self._decide(tenant, id_, lambda each, at: model.approve(each, by, at), witness)

    async def deny(
        self, tenant: TenantId, id_: str, by: Actor, reason: str = "", *, witness: Witness | None = None
    ) -> Execution:
        """Raises CommandNotFound, NotAwaitingApproval."""
        return await self._decide(tenant, id_, lambda each, at: model.deny(each, by, at, reason), witness)

    async def _decide(
        self,
        tenant: TenantId,
        id_: str,
        change: Callable[[Execution, datetime], Execution],
        witness: Witness | None,
    ) -> Execution:
        at = self._clock()
        async with self._database.tenant(tenant) as tx:
            found = await store.one(tx, id_)
            if found is None:
                raise CommandNotFound(f"there is no command {id_[:64]!r}")
            await store.take_lanes(tx, [found.thing.device], at)
            before = (await store.by_ids(tx, [(tenant, id_)]))[tenant, id_]
            after = change(before, at)
            await store.save(tx, [after])
            await outbox.add(tx, [news(after)])
            if witness:
                await witness(tx, id_, facts(before), facts(after))
        return after


def _facts(template: Template) -> dict[str, Any]:
    whole = dataclasses.asdict(template)
    return {name: value for name, value in whole.items() if name not in {"created_at", "updated_at", "id"}}
