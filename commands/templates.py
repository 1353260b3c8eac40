"""Templates: what a tenant's people may send."""

import dataclasses
from collections.abc import Callable
from typing import Any

from commands import store
from commands.contract import template as contract
from commands.contract.template import Template
from commands.drafting import Witness, template_of
from commands.errors import TemplateExists, TemplateMoved, TemplateNotFound
from core.clock import Clock
from core.db import Database
from core.tenancy import TenantId


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


def _facts(template: Template) -> dict[str, Any]:
    whole = dataclasses.asdict(template)
    return {name: value for name, value in whole.items() if name not in {"created_at", "updated_at", "id"}}
