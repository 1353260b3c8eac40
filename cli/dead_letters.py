"""`milkrun dead-letters`: what was refused, why, and once more through the pipeline."""

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer

from cli import context
from cli.output import print_json, print_table, when
from cli.stack.up import DataOption
from cli.telemetry import moment
from core import logs
from core.db import Database
from core.errors import Invalid
from core.settings import Settings
from ingest.history import letters
from ingest.history.letters import Letter, Outcome

dead_letters_app = typer.Typer(help="Refused messages: list, show, replay.", no_args_is_help=True, add_completion=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for scripts.")]
TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="Only this tenant's; ! = of no tenant we know.", show_default=False)
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only this reason.", show_default=False)]

_AT_ONCE = 500


@dead_letters_app.command("list")
def list_letters(
    tenant: TenantOption = None,
    reason: ReasonOption = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only those received from then on (ISO 8601).", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="So many at most, newest first.")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, newest first."""
    received_since = moment(since, "--since") if since else None

    async def work(_settings: Settings, operator: Database) -> list[Letter]:
        async with operator.unscoped(reason="the operator's list of dead letters") as tx:
            return await letters.listed(tx, tenant=tenant, reason=reason, since=received_since, limit=limit)

    found = _run(data, work)
    if as_json:
        print_json([_facts(letter) for letter in found])
        return
    print_table(
        ("id", "received", "tenant", "thing", "reason", "bytes", "replayed", "detail"),
        [
            (
                str(o.id),
                when(o.received_at),
                o.tenant,
                o.thing or "",
                o.reason,
                str(len(o.payload)),
                when(o.replayed_at),
                o.detail,
            )
            for o in found
        ],
    )


@dead_letters_app.command("show")
def show_letter(
    letter_id: Annotated[int, typer.Argument(metavar="ID")], data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Show one dead letter with its payload: as base64, and as text where it is text."""
    [letter] = _run(data, lambda _settings, operator: _load(operator, [letter_id]))
    facts = _facts(letter)
    if as_json:
        print_json(facts)
        return
    facts |= {"received_at": when(letter.received_at), "replayed_at": when(letter.replayed_at) or "never"}
    print_table(("dead letter", ""), [(name, "" if value is None else str(value)) for name, value in facts.items()])


@dead_letters_app.command("replay")
def replay_letters(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", show_default=False)] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", help="All of this reason that were not replayed yet.", show_default=False),
    ] = None,
    tenant: TenantOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run dead letters through the pipeline again, once the cause is mended. Exit code 1 if any was refused again."""
    if bool(ids) == bool(reason):
        raise Invalid("name the letters by their ids, or all of a reason with --reason: one of the two")
    if ids and tenant:
        raise Invalid("--tenant goes with --reason; ids name their letters alone")

    async def work(settings: Settings, operator: Database) -> list[Outcome]:
        outcomes: list[Outcome] = []
        async with Database(settings.database.ingest_url, pool_size=2) as ingest:

            async def run(some: Sequence[Letter]) -> None:
                for part in itertools.batched(some, _AT_ONCE):
                    outcomes.extend(await letters.replay(part, settings=settings, ingest=ingest, operator=operator))

            if ids:
                await run(await _load(operator, ids))
            else:
                assert reason is not None
                async for page in letters.waiting(operator, reason=reason, tenant=tenant):
                    await run(page)
        return outcomes

    outcomes = _run(data, work)
    if as_json:
        print_json([{"id": o.letter.id, "settled": o.is_settled, "became": _became(o)} for o in outcomes])
    else:
        print_table(("id", "thing", "became"), [(str(o.letter.id), o.letter.thing or "", _became(o)) for o in outcomes])
        refused = sum(not o.is_settled for o in outcomes)
        print(f"{len(outcomes)} replayed, {refused} refused again" if outcomes else "nothing to replay")
    if any(not o.is_settled for o in outcomes):
        raise typer.Exit(1)


async def _load(operator: Database, ids: Sequence[int]) -> list[Letter]:
    async with operator.unscoped(reason="the operator looks at dead letters") as tx:
        return await letters.load(tx, ids)


def _run[T](data: DataOption, work: Callable[[Settings, Database], Awaitable[T]]) -> T:
    """Do `work` with the settings of the stack in `data` and the operator's login."""
    settings = context.load(data).settings
    logs.configure(level="warning", json=settings.log.json_lines, process="cli")

    async def main() -> T:
        database = settings.database
        async with Database(
            database.operator_url, pool_size=1, statement_timeout_s=database.statement_timeout_s
        ) as operator:
            return await work(settings, operator)

    return asyncio.run(main())


def _became(outcome: Outcome) -> str:
    parts = [f"stored {outcome.stored}"] if outcome.stored else []
    if outcome.present:
        parts.append(f"there already {outcome.present}")
    parts += [f"refused again: {verdict.reason} ({verdict.detail})" for verdict in outcome.refused]
    return "; ".join(parts) or "nothing in it"


def _facts(letter: Letter) -> dict[str, object]:
    """Everything of a letter; `text` only where the payload is printable UTF-8."""
    try:
        text = letter.payload.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and not all(c.isprintable() or c in "\n\r\t" for c in text):
        text = None
    return {
        "id": letter.id,
        "tenant": letter.tenant,
        "received_at": letter.received_at,
        "source": letter.source,
        "topic": letter.topic,
        "thing": letter.thing,
        "reason": letter.reason,
        "detail": letter.detail,
        "replayed_at": letter.replayed_at,
        "payload_base64": base64.b64encode(letter.payload).decode(),
        "text": text,
    }
