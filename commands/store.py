"""Tables `command_template`, `command`, `command_batch` and `command_lane`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from psycopg.rows import DictRow
from psycopg.types.json import Json, Jsonb

from commands.contract.template import Parameter, Template, Type
from commands.model import Actor, Execution, State, Step, Terms
from core import sql
from core.db import TenantTx, Tx
from core.tenancy import DeviceId, TenantId, Thing, device_id, tenant_id

_SQL = sql.load("commands")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One template to many devices. `states` counts its executions."""

    id: str
    template: str
    parameters: Mapping[str, Any]
    target: Mapping[str, Any]
    note: str
    rate_per_minute: float | None
    total: int
    sender: Actor
    created_at: datetime
    digest: str
    token: str | None = None
    states: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which executions a list shows; None: all."""

    device: str | None = None
    template: str | None = None
    batch: str | None = None
    states: Sequence[str] | None = None
    is_open: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Briefing:
    """What sending to one device asks first: the template, the registry's word on the device, and about the token."""

    template: Template | None
    status: str | None
    is_known: bool


# --- templates ------------------------------------------------------------------------------------------------------


async def add_template(tx: TenantTx, template: Template) -> bool:
    """Whether it is new."""
    return (await tx.execute(_SQL["add_template"], _template_row(tx.tenant, template))).rowcount == 1


async def save_template(tx: TenantTx, template: Template) -> None:
    await tx.execute(_SQL["save_template"], _template_row(tx.tenant, template))


async def template(tx: TenantTx, id_: str, *, lock: bool = False) -> Template | None:
    row = await tx.one(_SQL["lock_template" if lock else "template"], {"tenant": tx.tenant, "id": id_})
    return None if row is None else _template(row)


async def briefing(tx: TenantTx, id_: str, device: DeviceId, token: str | None, at: datetime) -> Briefing:
    """Holds the device's queue as `take_lanes` does."""
    params = {"tenant": tx.tenant, "id": id_, "device": device, "token": token, "at": at}
    row = await tx.one(_SQL["briefing"], params)
    assert row is not None
    return Briefing(None if row["version"] is None else _template(row), row["device_status"], row["is_known"])


async def templates(tx: TenantTx, *, deprecated: bool | None, after: str, limit: int) -> list[Template]:
    """By name."""
    params = {"tenant": tx.tenant, "deprecated": deprecated, "after": after, "limit": limit}
    return [_template(row) for row in await tx.all(_SQL["templates"], params)]


# --- lanes ----------------------------------------------------------------------------------------------------------


async def take_lanes(tx: TenantTx, devices: Collection[DeviceId], at: datetime) -> None:
    """Hold these queues until the transaction ends, and have them looked at after it."""
    await tx.execute(_SQL["take_lanes"], {"tenant": tx.tenant, "devices": sorted(devices), "at": at})


async def lock_lanes(tx: Tx, things: Collection[Thing]) -> None:
    await tx.execute(_SQL["lock_lanes"], keys(things))


# --- executions -----------------------------------------------------------------------------------------------------


async def add(tx: TenantTx, executions: Sequence[Execution], *, room: int | None = None) -> int:
    """How many were added: not one whose token is there already, nor one for a device with `room` open ones."""
    params = {"rows": encode([_row(each) for each in executions]), "room": room}
    return (await tx.execute(_SQL["add"], params)).rowcount


async def save(tx: Tx, executions: Collection[Execution]) -> None:
    """Only by who holds their lanes."""
    if executions:
        await tx.execute(_SQL["save"], {"rows": encode([_row(each) for each in executions])})


async def by_ids(tx: Tx, keys: Collection[tuple[TenantId, str]]) -> dict[tuple[TenantId, str], Execution]:
    params = {"tenants": [tenant for tenant, _ in keys], "ids": [id_ for _, id_ in keys]}
    found = [execution_of(row) for row in await tx.all(_SQL["by_ids"], params)]
    return {(each.thing.tenant, each.id): each for each in found}


async def one(tx: TenantTx, id_: str) -> Execution | None:
    row = await tx.one(_SQL["one"], {"tenant": tx.tenant, "id": id_})
    return None if row is None else execution_of(row)


async def by_token(tx: TenantTx, token: str) -> Execution | None:
    row = await tx.one(_SQL["by_token"], {"tenant": tx.tenant, "token": token})
    return None if row is None else execution_of(row)


async def listed(tx: TenantTx, wanted: Wanted, *, after: str | None, limit: int) -> list[Execution]:
    """Newest first."""
    params = {
        "tenant": tx.tenant,
        "device": wanted.device,
        "template": wanted.template,
        "batch": wanted.batch,
        "states": None if wanted.states is None else list(wanted.states),
        "open": wanted.is_open,
        "since": wanted.since,
        "until": wanted.until,
        "after": after,
        "limit": limit,
    }
    return [execution_of(row) for row in await tx.all(_SQL["list"], params)]


async def most_open(tx: TenantTx, devices: Collection[DeviceId]) -> tuple[str, int]:
    """The one of these devices with the most open executions, and how many."""
    row = await tx.one(_SQL["count_open"], {"tenant": tx.tenant, "devices": list(devices)})
    return (row["device_id"], row["open"]) if row else ("", 0)


async def statuses(tx: TenantTx, devices: Collection[DeviceId]) -> dict[str, str]:
    """The registry's word on each; unknown ones are left out."""
    rows = await tx.all(_SQL["statuses"], {"tenant": tx.tenant, "devices": list(devices)})
    return {row["device_id"]: row["status"] for row in rows}


async def targets(
    tx: TenantTx, *, devices: Collection[str] | None, labels: Mapping[str, str] | None, limit: int
) -> list[DeviceId]:
    """Devices in service, by name."""
    params = {
        "tenant": tx.tenant,
        "devices": None if devices is None else list(devices),
        "labels": None if labels is None else Jsonb(dict(labels)),
        "limit": limit,
    }
    return [device_id(row["device_id"]) for row in await tx.all(_SQL["targets"], params)]


# --- groups ---------------------------------------------------------------------------------------------------------


async def add_batch(tx: TenantTx, batch: Batch) -> bool:
    """Whether it is new; a token that is there already is not."""
    params = {
        "tenant": tx.tenant,
        "id": batch.id,
        "template": batch.template,
        "parameters": Json(batch.parameters),
        "target": Json(batch.target),
        "note": batch.note,
        "rate": batch.rate_per_minute,
        "total": batch.total,
        "at": batch.created_at,
        "token": batch.token,
        "digest": batch.digest,
        "sender": Json(asdict(batch.sender)),
    }
    return (await tx.execute(_SQL["add_batch"], params)).rowcount == 1


async def batch_by_token(tx: TenantTx, token: str) -> Batch | None:
    row = await tx.one(_SQL["batch_by_token"], {"tenant": tx.tenant, "token": token})
    return None if row is None else _batch(row)


async def batches(tx: TenantTx, *, id_: str | None = None, after: str | None = None, limit: int = 1) -> list[Batch]:
    """Newest first, or the one."""
    params = {"tenant": tx.tenant, "id": id_, "after": after, "limit": limit}
    return [_batch(row) for row in await tx.all(_SQL["batches"], params)]


async def open_of_batch(tx: TenantTx, id_: str) -> dict[str, DeviceId]:
    """Open executions of a group and their devices."""
    rows = await tx.all(_SQL["open_of_batch"], {"tenant": tx.tenant, "batch": id_})
    return {row["command_id"]: device_id(row["device_id"]) for row in rows}


# --- rows -----------------------------------------------------------------------------------------------------------


def keys(things: Collection[Thing]) -> dict[str, list[str]]:
    return {"tenants": [thing.tenant for thing in things], "devices": [thing.device for thing in things]}


def key(thing: Thing) -> dict[str, str]:
    return {"tenant_id": thing.tenant, "device_id": thing.device}


def thing_of(row: DictRow) -> Thing:
    return Thing(tenant_id(row["tenant_id"]), device_id(row["device_id"]))


def encode(rows: Sequence[Mapping[str, Any]]) -> str:
    return _encode(rows).decode()


def _row(each: Execution) -> dict[str, Any]:
    """By column."""
    return {
        **key(each.thing),
        "command_id": each.id,
        "template_id": each.template,
        "batch_id": each.batch,
        "state": each.state.value,
        "ordering": each.terms.order,
        "terms": each.terms,
        "sender": each.sender,
        "approver": each.approver,
        "history": [[s.at, s.state.value, s.by, s.reason_code, s.reason] for s in each.history],
        "result": dict(each.result),
        **{name: getattr(each, name) for name in _PLAIN},
    }


_PLAIN = (
    *("token", "digest", "attempts", "retried", "misses", "is_late", "version", "reason_code", "reason"),
    *("created_at", "approved_at", "expires_at", "due_at", "lapses_at", "tried_at", "sent_at", "delivered_at"),
    *("ended_at", "updated_at"),
)


def execution_of(row: DictRow) -> Execution:
    terms = dict(row["terms"])
    terms["binary"] = tuple(terms["binary"])
    return Execution(
        thing=thing_of(row),
        id=row["command_id"],
        template=row["template_id"],
        batch=row["batch_id"],
        state=State(row["state"]),
        place=row["place"],
        terms=Terms(**terms),
        sender=Actor(**row["sender"]),
        approver=None if row["approver"] is None else Actor(**row["approver"]),
        history=tuple(
            Step(datetime.fromisoformat(at), State(state), by, code, reason)
            for at, state, by, code, reason in row["history"]
        ),
        result=row["result"],
        **{name: row[name] for name in _PLAIN},
    )


def _template_row(tenant: TenantId, each: Template) -> dict[str, Any]:
    names = ("id", "description", "format", "dangerous", "needs_approval", "timeout_s", "expires_s", "retries")
    more = ("order", "is_deprecated", "version", "created_at", "updated_at")
    parameters = Json([asdict(parameter) for parameter in each.parameters])
    return {"tenant": tenant, "parameters": parameters, **{name: getattr(each, name) for name in (*names, *more)}}


def _template(row: DictRow) -> Template:
    return Template(
        id=row["template_id"],
        parameters=tuple(_parameter(each) for each in row["parameters"]),
        order=row["ordering"],
        **{
            name: row[name]
            for name in (
                *("description", "format", "dangerous", "needs_approval", "timeout_s", "expires_s", "retries"),
                *("is_deprecated", "version", "created_at", "updated_at"),
            )
        },
    )


def _parameter(row: Mapping[str, Any]) -> Parameter:
    allowed = None if row["allowed"] is None else tuple(row["allowed"])
    return Parameter(**{**row, "type": Type(row["type"]), "allowed": allowed})


def _batch(row: DictRow) -> Batch:
    return Batch(
        id=row["batch_id"],
        template=row["template_id"],
        sender=Actor(**row["sender"]),
        **{
            name: row[name]
            for name in (
                *("parameters", "target", "note", "rate_per_minute", "total", "created_at", "digest", "token"),
                "states",
            )
        },
    )
