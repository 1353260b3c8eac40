"""`milkrun telemetry`: stored telemetry as files."""

import asyncio
import enum
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import context
from cli.stack.up import DataOption
from core.db import Database, TenantTx
from core.errors import Invalid
from core.tenancy import Thing, device_id, tenant_id
from ingest.history import export
from ingest.history.export import Point, Points, Span

telemetry_app = typer.Typer(help="Stored telemetry: export.", no_args_is_help=True, add_completion=False)


class Format(enum.StrEnum):
    CSV = "csv"
    GEOJSON = "geojson"
    GPX = "gpx"


@telemetry_app.callback()
def _group() -> None:
    """Keeps `export` a command of its own while it is the only one."""


@telemetry_app.command("export")
def export_track(
    tenant: Annotated[str, typer.Option("--tenant", help="The device's tenant.")],
    device: Annotated[str, typer.Option("--device", help="The device.")],
    since: Annotated[str, typer.Option("--from", help="From this time on (ISO 8601; UTC unless it says otherwise).")],
    until: Annotated[str, typer.Option("--to", help="Until before this time.")],
    form: Annotated[Format, typer.Option("--format", help="csv, geojson (a Point a fix) or gpx (1.1).")] = Format.CSV,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Also the named signals: csv columns m.NAME, geojson properties.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, help="File to write (default: stdout).", show_default=False)
    ] = None,
    data: DataOption = None,
) -> None:
    """Export what one device sent within a span of time."""
    thing = Thing(tenant_id(tenant), device_id(device))
    span = Span(thing.device, moment(since, "--from"), moment(until, "--to"))
    if span.since >= span.until:
        raise Invalid(f"--from {since} is not before --to {until}: from the first until before the second is exported")
    if metrics and form is Format.GPX:
        raise Invalid("--metrics goes with csv and geojson: GPX has no place for named signals")
    written = asyncio.run(_export(context.load(data).settings.database.app_url, thing, span, form, metrics, out))
    if not written:
        print(f"{thing} sent nothing from {since} to {until}", file=sys.stderr)
    elif out is not None:
        print(f"{written:,} samples written to {out}", file=sys.stderr)


def moment(text: str, option: str) -> datetime:
    """An ISO 8601 date or time; one without an offset is UTC. Raises Invalid."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{option} {text[:80]!r} is no ISO 8601 time: such are 2026-11-21 and 2026-11-21T06:30:00+01:00"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


async def _export(url: str, thing: Thing, span: Span, form: Format, metrics: bool, out: Path | None) -> int:
    """Write the file and return the number of samples in it. A file appears whole or not at all."""
    async with Database(url, pool_size=1) as database, database.tenant(thing.tenant) as tx:
        await export.require_device(tx, thing.device)
        counted = _Counted()
        chunks = await _chunks(tx, thing, span, form, metrics, counted)
        if out is None:
            async for chunk in chunks:
                sys.stdout.write(chunk)
            sys.stdout.flush()
            return counted.samples
        part = out.with_name(f".{out.name}.part")
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                async for chunk in chunks:
                    file.write(chunk)
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
        return counted.samples


async def _chunks(
    tx: TenantTx, thing: Thing, span: Span, form: Format, metrics: bool, counted: "_Counted"
) -> AsyncIterator[str]:
    # Only a form that has room for samples without a position counts them.
    points = counted.through(export.read(tx, span, with_metrics=metrics), only_fixes=form is not Format.CSV)
    if form is Format.CSV:
        return export.as_csv(points, await export.metric_names(tx, span) if metrics else ())
    return export.as_geojson(points) if form is Format.GEOJSON else export.as_gpx(points, str(thing))


class _Counted:
    """Counts the samples that pass."""

    def __init__(self) -> None:
        self.samples = 0

    async def through(self, points: Points, *, only_fixes: bool) -> AsyncIterator[Point]:
        async for point in points:
            if not only_fixes or point.fix is not None:
                self.samples += 1
                yield point
