"""`milkrun sim load`: how much the running stack takes, measured from the devices' side."""

import asyncio
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from cli import context
from cli.enrolment import enrolled, listener
from cli.stack.up import DataOption
from core import logs
from core.tenancy import tenant_id
from sim.load import LoadPlan, LoadReport, run_load


def load(
    devices: Annotated[int, typer.Option(min=1, max=20_000, help="How many devices send, a connection each.")] = 100,
    rate: Annotated[float, typer.Option(min=0, help="Messages a second of all devices; 0 = as many as go.")] = 1000.0,
    duration: Annotated[float, typer.Option(min=1, max=3600, help="Seconds to send.")] = 10.0,
    samples: Annotated[int, typer.Option(min=1, max=1000, help="Samples in a message.")] = 1,
    window: Annotated[int, typer.Option(min=1, help="Messages of a device that are not yet durable, at most.")] = 200,
    metrics: Annotated[bool, typer.Option("--metrics", help="Three named signals with each position.")] = False,
    tenant: Annotated[str, typer.Option("--tenant", help="The devices' tenant; made if it is not there.")] = "load",
    data: DataOption = None,
) -> None:
    """Send QoS 1 messages over mTLS and report what was sent, acknowledged and committed, and how fast.

    The devices are registered on first use. Committed is counted by the durable acknowledgements that ingest publishes
    after each commit, so the latency includes the way back to the device.
    """
    found, console = context.load(data), Console(highlight=False)
    logs.configure(level="error", json=found.settings.log.json_lines, process="load")
    stack = listener(found)
    plan = LoadPlan(
        host=stack.mqtt.host,
        port=stack.mqtt.port,
        protocol=4 if stack.broker == "amqtt" else 5,
        rate=rate,
        duration_s=duration,
        samples_per_message=samples,
        window=window,
        with_metrics=metrics,
    )
    names = [f"load-{number:05}" for number in range(1, devices + 1)]
    fleet = list(asyncio.run(enrolled(found, tenant_id(tenant), names)).values())
    with console.status(f"{devices} devices connecting") as status:
        report = uvloop.run(
            run_load(plan, fleet, lambda so_far: status.update(f"{so_far.sent:,} sent, {so_far.acknowledged:,} taken"))
        )
    console.print(_table(report, samples))
    if report.durable < report.sent:
        raise typer.Exit(1)


def _table(report: LoadReport, samples: int) -> Table:
    table = Table(show_header=False, box=None)
    for name, value in (
        ("devices", f"{report.devices:,}"),
        ("sent", f"{report.sent:,} messages in {report.sending_s:.1f} s"),
        ("acknowledged by the broker", f"{report.acknowledged:,}, refused {report.refused:,}"),
        ("committed", f"{report.durable:,}, {report.durable_per_s:,.0f} a second"),
        ("samples committed", f"{report.durable * samples:,}, {report.durable_per_s * samples:,.0f} a second"),
        ("publish to committed p50", _ms(report.latency_s(0.5))),
        ("publish to committed p99", _ms(report.latency_s(0.99))),
    ):
        table.add_row(name, value)
    return table


def _ms(seconds: float | None) -> str:
    return "not measured" if seconds is None else f"{seconds * 1000:,.0f} ms"
