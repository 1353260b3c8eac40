"""The same command to many devices, at a rate."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from commands import model, store
from commands.drafting import (
    Draft,
    Request,
    Witness,
    draft,
    new_id,
    news,
    require_room,
    require_targets,
    reused,
    template_of,
)
from commands.errors import BatchNotFound, InvalidGroup
from commands.model import Actor, Execution, State
from commands.store import Batch
from core import outbox
from core.clock import Clock
from core.db import Database, TenantTx
from core.settings import CommandsSettings
from core.tenancy import DeviceId, TenantId, Thing


class Selector(Protocol):
    """Finds devices by a filter; whoever can search the fleet fills it. Raises an Invalid for what is no filter."""

    async def devices(self, tx: TenantTx, where: str, *, limit: int) -> list[DeviceId]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """To whom: one of the three. Of labels a device carries every one."""

    devices: Sequence[str] | None = None
    labels: Mapping[str, str] | None = None
    where: str | None = None
    rate_per_minute: float | None = None


class GroupService:
    """A group is those devices that are in service when it is sent to; each then has an execution of its own."""

    def __init__(
        self, *, database: Database, settings: CommandsSettings, clock: Clock, selector: Selector | None
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._selector = selector

    async def send(
        self, tenant: TenantId, group: Group, request: Request, sender: Actor, *, witness: Witness | None = None
    ) -> Batch:
        """The command to each device. The same token with the same request gives the same batch.

        Raises InvalidGroup and what sending to one device raises.
        """
        at, digest = self._clock(), request.digest(dataclasses.asdict(group))
        async with self._database.tenant(tenant) as tx:
            known = None if request.token is None else await store.batch_by_token(tx, request.token)
            if known is None:
                drafted = draft(await template_of(tx, request.template), request, sender, self._settings)
                devices = await self._targets(tx, group)
                batch = Batch(
                    id=new_id("bat_", at),
                    template=request.template,
                    parameters=drafted.terms.parameters,
                    target={"devices": group.devices, "labels": group.labels, "where": group.where},
                    note=request.note,
                    rate_per_minute=group.rate_per_minute,
                    total=len(devices),
                    sender=sender,
                    created_at=at,
                    digest=digest,
                    token=request.token,
                )
                if await store.add_batch(tx, batch):
                    await self._fill(tx, batch, devices, drafted)
                    if witness:
                        told = {"template": batch.template, "total": batch.total, "target": dict(batch.target)}
                        await witness(tx, batch.id, None, told)
                    return await _one(tx, batch.id)
                assert request.token is not None, "an id of our own was there already"
                known = await store.batch_by_token(tx, request.token)
                assert known is not None
            if known.digest != digest:
                raise reused(request.token)
            return await _one(tx, known.id)

    async def get(self, tenant: TenantId, id_: str) -> Batch:
        """Raises BatchNotFound."""
        async with self._database.tenant(tenant) as tx:
            return await _one(tx, id_)

    async def listed(self, tenant: TenantId, *, after: str | None = None, limit: int = 100) -> list[Batch]:
        """Newest first."""
        async with self._database.tenant(tenant) as tx:
            return await store.batches(tx, after=after, limit=limit)

    async def cancel(
        self, tenant: TenantId, id_: str, by: Actor, reason: str = "", *, witness: Witness | None = None
    ) -> Batch:
        """Call back all that is not over. Raises BatchNotFound."""
        return await self._decide(tenant, id_, lambda each, at: model.cancel(each, by, at, reason), witness)

    async def approve(self, tenant: TenantId, id_: str, by: Actor, *, witness: Witness | None = None) -> Batch:
        """All that await it. Raises BatchNotFound, OwnApproval."""
        return await self._decide(tenant, id_, lambda each, at: model.approve(each, by, at), witness, awaiting=True)

    async def deny(
        self, tenant: TenantId, id_: str, by: Actor, reason: str = "", *, witness: Witness | None = None
    ) -> Batch:
        """All that await approval. Raises BatchNotFound."""
        return await self._decide(
            tenant, id_, lambda each, at: model.deny(each, by, at, reason), witness, awaiting=True
        )

    async def _fill(self, tx: TenantTx, batch: Batch, devices: Sequence[DeviceId], drafted: Draft) -> None:
        at = batch.created_at
        step = timedelta(minutes=1) / batch.rate_per_minute if batch.rate_per_minute else timedelta()
        await store.take_lanes(tx, devices, at)
        await require_room(tx, devices, self._settings)
        executions = [
            drafted.execution(Thing(tx.tenant, device), at, due_at=at + step * number, batch=batch.id)
            for number, device in enumerate(devices)
        ]
        await store.add(tx, executions)
        await outbox.add(tx, [news(each) for each in executions])

    async def _targets(self, tx: TenantTx, group: Group) -> list[DeviceId]:
        """Raises InvalidGroup, TargetNotFound, TargetOutOfService."""
        if sum(each is not None for each in (group.devices, group.labels, group.where)) != 1:
            raise InvalidGroup("a group is named by devices, by labels or by where: one of the three")
        most = self._settings.group_devices
        devices, labels = group.devices, group.labels
        if devices is not None:
            if len(devices) > most:
                raise InvalidGroup(f"a group has at most {most:,} devices")
            await require_targets(tx, [DeviceId(each) for each in devices])
        elif labels is not None and not labels:
            raise InvalidGroup("no labels would mean every device: name at least one")
        elif group.where is not None:
            if self._selector is None:
                raise InvalidGroup("there is no search by filter here: name devices or labels")
            devices = await self._selector.devices(tx, group.where, limit=most + 1)
        found = await store.targets(tx, devices=devices, labels=labels, limit=most + 1)
        if not found:
            raise InvalidGroup("there is no device in service in this group")
        if len(found) > most:
            raise InvalidGroup(f"a group has at most {most:,} devices; this one has more")
        return found

    async def _decide(
        self,
        tenant: TenantId,
        id_: str,
        change: Callable[[Execution, datetime], Execution],
        witness: Witness | None,
        *,
        awaiting: bool = False,
    ) -> Batch:
        at = self._clock()
        async with self._database.tenant(tenant) as tx:
            before = await _one(tx, id_)
            ids = await store.open_of_batch(tx, id_)
            if ids:
                await store.take_lanes(tx, list(ids.values()), at)
                found = (await store.by_ids(tx, [(tenant, each) for each in ids])).values()
                wanted = [e for e in found if e.is_open and (not awaiting or e.state is State.AWAITING_APPROVAL)]
                changed = [change(each, at) for each in wanted]
                await store.save(tx, changed)
                await outbox.add(tx, [news(each) for each in changed])
            after = await _one(tx, id_)
            if witness:
                await witness(tx, id_, {"states": dict(before.states)}, {"states": dict(after.states)})
        return after


async def _one(tx: TenantTx, id_: str) -> Batch:
    found = await store.batches(tx, id_=id_)
    if not found:
        raise BatchNotFound(f"there is no group of commands {id_[:64]!r}")
    return found[0]
