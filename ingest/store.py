"""The telemetry store: one transaction writes a batch with everything that belongs to it, or nothing of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import LiteralString

from psycopg import errors as pg
from psycopg.types.json import Json

from core import dead_letters, sql
from core.clock import epoch_ms, from_epoch_ms
from core.db import Tx
from core.telemetry import DeviceEvent, Position, Sample
from core.tenancy import Thing, device_id, tenant_id
from ingest import rows
from ingest.errors import StateMoved
from ingest.gate import Known, Registry
from ingest.model import DeviceState, load_ledger

QUERIES = sql.load("ingest")

_COPY_STATE: LiteralString = "COPY staged_state FROM STDIN"
_PLACE = ("lat", "lon", "alt", "speed", "heading", "acc")


@dataclass(frozen=True, slots=True)
class _Table:
    """How rows get into a telemetry table: at once where they are surely new, else past a staging table."""

    copy: LiteralString
    stage: LiteralString
    merge: LiteralString


_POSITION = _Table(
    "COPY telemetry.position FROM STDIN (FORMAT binary)",
    "COPY staged_position FROM STDIN (FORMAT binary)",
    QUERIES["merge_positions"],
)
_METRIC = _Table(
    "COPY telemetry.metric FROM STDIN (FORMAT binary)",
    "COPY staged_metric FROM STDIN (FORMAT binary)",
    QUERIES["merge_metrics"],
)


@dataclass(slots=True)
class Rows:
    """Packed rows of one table. `sure` ones are new by the ledger; `unsure` ones carry no seq, so the key must tell."""

    sure: list[bytes] = field(default_factory=list)
    unsure: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sure) + len(self.unsure)


@dataclass(slots=True)
class Writes:
    """What one transaction is to write. `minutes` are those (epoch ms) whose rollups fall behind by it."""

    positions: Rows = field(default_factory=Rows)
    metrics: Rows = field(default_factory=Rows)
    events: list[tuple[Known, DeviceEvent, int, int]] = field(default_factory=list)
    letters: list[dead_letters.DeadLetter] = field(default_factory=list)
    touched: dict[str, Known] = field(default_factory=dict)
    minutes: set[int] = field(default_factory=set)
    outbox: bytes | None = None
    relayed: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did: rows that were new, and the id of its outbox row."""

    positions: int
    metrics: int
    outbox_id: int | None


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored sample at an instant: its name, and its place where it has one."""

    boot: str
    seq: int
    lat: float | None
    lon: float | None


async def lookup(
    tx: Tx, registry: Registry, things: Sequence[Thing], *, partitions: Iterable[int], now_s: float
) -> None:
    """Ask the registry table who `things` are and put the answers, refusals included, into `registry`."""
    found = await tx.all(
        QUERIES["lookup_things"], {"tenants": [t.tenant for t in things], "devices": [t.device for t in things]}
    )
    status = {(row["tenant_id"], row["device_id"]): row["status"] for row in found}
    for thing, partition in zip(things, partitions, strict=True):
        key = (thing.tenant, thing.device)
        registry.add(thing, status=status.get(key), has_tenant=key in status, partition=partition, now_s=now_s)


async def changes(tx: Tx, registry: Registry, since: datetime) -> datetime:
    """Apply registry changes since `since` and return the newest server time seen."""
    latest = since
    for row in await tx.all(QUERIES["changed_things"], {"since": since}):
        registry.update(str(Thing(tenant_id(row["tenant_id"]), device_id(row["device_id"]))), row["status"])
        latest = max(latest, row["now"])
    return latest


async def load_states(tx: Tx, things: Sequence[Known]) -> None:
    """Read and lock the state of `things`; those never heard of get an empty one."""
    for known in things:
        known.state = DeviceState()
    by_key = {(known.thing.tenant, known.thing.device): known for known in things}
    keys = {"tenants": [k.thing.tenant for k in things], "devices": [k.thing.device for k in things]}
    for row in await tx.all(QUERIES["load_states"], keys):
        pos = None if row["lat"] is None else Position(**{name: row[name] for name in _PLACE})
        by_key[row["tenant_id"], row["device_id"]].state = DeviceState(
            version=row["version"],
            last_seen_ms=epoch_ms(row["last_seen_at"]),
            ts=None if row["ts"] is None else epoch_ms(row["ts"]),
            boot=row["boot"] or "",
            seq=-1 if row["seq"] is None else row["seq"],
            pos=pos,
            boots=load_ledger(row["ledger"]),
        )


async def stored(tx: Tx, wanted: Sequence[tuple[Known, Sample]]) -> list[list[Stored]]:
    """For each sample, what is stored of the same device at the same instant."""
    answers: list[list[Stored]] = [[] for _ in wanted]
    if not wanted:
        return answers
    found = await tx.all(
        QUERIES["stored_names"],
        {
            "n": list(range(len(wanted))),
            "tenants": [known.thing.tenant for known, _ in wanted],
            "devices": [known.thing.device for known, _ in wanted],
            "ts": [from_epoch_ms(sample.ts) for _, sample in wanted],
            "names": [next(iter(sample.m), "") if sample.m else "" for _, sample in wanted],
        },
    )
    for row in found:
        answers[row["n"]].append(Stored(row["boot"], row["seq"], row["lat"], row["lon"]))
    return answers


async def write(tx: Tx, writes: Writes) -> Written:
    """Write the batch. Raises StateMoved when another worker wrote one of its devices meanwhile."""
    positions = await _insert(tx, _POSITION, writes.positions)
    metrics = await _insert(tx, _METRIC, writes.metrics)
    for known, event, seq, received_ms in writes.events:
        await tx.execute(QUERIES["write_event"], _event_row(known, event, seq, received_ms))
    await dead_letters.keep(tx, writes.letters)
    if writes.touched:
        await _write_states(tx, list(writes.touched.values()))
    outbox_id = None
    if writes.outbox is not None:
        row = await tx.one(QUERIES["add_outbox"], (writes.outbox,))
        outbox_id = row["id"] if row else None
    if writes.relayed:
        await tx.execute(QUERIES["drop_outbox"], (writes.relayed,))
    if writes.minutes:
        # Last, because it locks rows that every other writer wants too.
        await tx.execute(QUERIES["touch_minutes"], ([from_epoch_ms(m) for m in sorted(writes.minutes)],))
    return Written(positions, metrics, outbox_id)


async def prepare(tx: Tx) -> None:
    """Make the staging tables of this connection, if it has none yet."""
    for statement in QUERIES["staging"].split(";"):
        await tx.execute(statement)


async def ensure_partitions(tx: Tx, since_ms: int, until_ms: int) -> None:
    since, until = from_epoch_ms(since_ms), from_epoch_ms(until_ms)
    await tx.execute(QUERIES["ensure_partitions"], {"since": since, "until": until})


async def _insert(tx: Tx, table: _Table, packed: Rows) -> int:
    """Insert and return how many rows were new.

    COPY straight into the table costs half of what staging and ON CONFLICT cost, and fails whole on a row that is there
    already. The ledger keeps that from happening but after a fault, such as a ledger restored from a backup.
    """
    unsure = packed.unsure
    if packed.sure:
        try:
            async with tx.conn.transaction():
                await _copy(tx, table.copy, packed.sure)
        except pg.UniqueViolation:
            unsure = packed.sure + unsure
    if not unsure:
        return len(packed.sure)
    await _copy(tx, table.stage, unsure)
    merged = (await tx.execute(table.merge)).rowcount
    return merged + len(packed) - len(unsure)


async def _copy(tx: Tx, copy_into: LiteralString, packed: Sequence[bytes]) -> None:
    async with tx.conn.cursor().copy(copy_into) as copy:
        await copy.write(rows.HEADER + b"".join(packed) + rows.TRAILER)


async def _write_states(tx: Tx, things: list[Known]) -> None:
    async with tx.conn.cursor().copy(_COPY_STATE) as copy:
        for known in things:
            await copy.write_row(_state_row(known))
    wrote = (await tx.execute(QUERIES["write_states"])).rowcount
    if wrote != len(things):
        raise StateMoved(f"{len(things) - wrote} of {len(things)} devices were written by another worker")


def _state_row(known: Known) -> tuple[object, ...]:
    state = known.state
    assert state is not None
    pos = state.pos
    seen = datetime.fromtimestamp(state.last_seen_ms / 1000, UTC)
    head = (known.thing.tenant, known.thing.device, state.version + 1, seen)
    if pos is None or state.ts is None:
        return (*head, None, None, None, None, None, None, None, None, None, state.ledger())
    place = [getattr(pos, name) for name in _PLACE]
    return (*head, from_epoch_ms(state.ts), state.boot, state.seq, *place, state.ledger())


def _event_row(known: Known, event: DeviceEvent, seq: int, received_ms: int) -> tuple[object, ...]:
    return (
        known.thing.tenant,
        known.thing.device,
        from_epoch_ms(event.ts),
        event.boot,
        seq,
        event.type,
        Json(event.data or {}),
        from_epoch_ms(received_ms),
    )
