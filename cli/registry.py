"""`milkrun tenant` and `milkrun device`: the registry from the command line."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from cli import context, manifest
from cli.output import fields, print_json, print_table, when
from core import logs
from core.db import Database
from core.tenancy import TenantId, Thing, device_id, tenant_id
from provisioning import model
from provisioning.ca import CertificateAuthority
from provisioning.errors import InvalidDevice
from provisioning.keyfiles import Delivery
from provisioning.model import (
    Certificate,
    CertificateStatus,
    Device,
    DeviceStatus,
    Enrolment,
    Issued,
    NewDevice,
    Reason,
)
from provisioning.service import Added, ProvisioningService

tenant_app = typer.Typer(help="Tenants: add, list.", no_args_is_help=True, add_completion=False)
device_app = typer.Typer(
    help="Devices and their certificates: add, list, show, suspend, revoke.", no_args_is_help=True, add_completion=False
)

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Data folder (default: MILKRUN_DATA, else .milkrun).", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for scripts.")]
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", show_default=False)]
DeviceArgument = Annotated[str, typer.Argument(metavar="DEVICE", show_default=False)]
LabelOption = Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="May be repeated.")]
CsrOption = Annotated[
    Path | None,
    typer.Option(
        "--csr", exists=True, dir_okay=False, help="Signing request of a device that keeps its own key (PEM)."
    ),
]

_DURABLE_EACH = 100  # above this many devices the disk is asked once at the end instead of at each file
_PAGE = 5000


@tenant_app.command("add")
def add_tenant(
    tenant: TenantArgument,
    name: Annotated[str, typer.Option(help="Name to show (default: the tenant's own).", show_default=False)] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a tenant."""
    checked = tenant_id(tenant)
    added = _run(data, lambda service: service.add_tenant(checked, name))
    if as_json:
        print_json(fields(added, "tenant", "name", "created_at"))
    else:
        print(f"tenant {added.tenant} added")


@tenant_app.command("list")
def list_tenants(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List all tenants."""
    tenants = _run(data, lambda service: service.tenants())
    if as_json:
        print_json(
            [{"tenant": t.tenant, "name": t.name, "devices": t.devices, "created_at": t.created_at} for t in tenants]
        )
        return
    print_table(
        ("tenant", "name", "devices", "created"),
        [(t.tenant, t.name, str(t.devices), when(t.created_at)) for t in tenants],
    )


@device_app.command("add")
def add_device(
    tenant: TenantArgument,
    device: DeviceArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder for device.crt, device.key and ca.crt. Without it: no certificate yet.")
    ] = None,
    type_: Annotated[str, typer.Option("--type", help="What kind of device it is.")] = "tracker",
    label: LabelOption = None,
    csr: CsrOption = None,
    count: Annotated[
        int | None, typer.Option(help="Add DEVICE-00001 to DEVICE-N, each with a folder of its own in --out.")
    ] = None,
    pending: Annotated[bool, typer.Option("--pending", help="Leave out of service until `device activate`.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a device, give it a certificate and put it into service; or many at once."""
    like = model.new_device(device, type_, model.labels_of(label or []))
    wanted = [like] if count is None else model.series(like, count)
    if csr and (out is None or count is not None):
        raise InvalidDevice("--csr is for one device and needs --out for its certificate")
    added = _add(
        data, tenant_id(tenant), wanted, out, each_its_own=count is not None, csr=csr, is_in_service=not pending
    )
    if as_json:
        print_json([_device_facts(d) for d in added.devices])
    elif count is None:
        print(f"{added.devices[0].thing} is {added.devices[0].status}{f'; its files are in {out}' if out else ''}")
    else:
        print(f"{len(added.devices)} devices added{f', a folder each in {out}' if out else ''}")


@device_app.command("import")
def import_devices(
    tenant: TenantArgument,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV: device, type, labels ...")],
    out: Annotated[Path | None, typer.Option(help="Folder for a folder each. Without it: no certificates yet.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register the devices of a CSV file. Bad lines are reported, the good ones land; exit code 2 if any was bad."""
    listed = manifest.read(file.read_bytes())
    added = _add(data, tenant_id(tenant), listed.devices, out, each_its_own=True, skip_existing=True)
    bad = [*listed.bad, *(manifest.BadLine(listed.line_of[d], f"device {d} is registered") for d in added.existing)]
    bad.sort(key=lambda each: each.line)
    if as_json:
        print_json({"added": len(added.devices), "bad": [{"line": b.line, "error": b.said} for b in bad]})
    else:
        print(f"{len(added.devices)} devices added{f', a folder each in {out}' if out else ''}")
        for each in bad:
            print(f"{file}:{each.line}: {each.said}", file=sys.stderr)
    if bad:
        raise typer.Exit(2)


@device_app.command("list")
def list_devices(
    tenant: TenantArgument,
    status: Annotated[DeviceStatus | None, typer.Option(help="Only these.", show_default=False)] = None,
    label: LabelOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a tenant's devices by name."""
    checked, labels = tenant_id(tenant), model.labels_of(label or [])

    async def every_page(service: ProvisioningService) -> list[Device]:
        devices: list[Device] = []
        after = ""
        while page := await service.devices(checked, status=status, labels=labels, after=after, limit=_PAGE):
            devices += page
            after = page[-1].thing.device
        return devices

    devices = _run(data, every_page)
    if as_json:
        print_json([_device_facts(d) for d in devices])
        return
    print_table(
        ("device", "status", "type", "labels", "last seen", "online"),
        [
            (d.thing.device, d.status, d.type, _labels(d), when(d.last_seen_at), "yes" if d.is_online else "")
            for d in devices
        ],
    )


@device_app.command("show")
def show_device(
    tenant: TenantArgument, device: DeviceArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Show a device and its certificates, newest first."""
    thing = _thing(tenant, device)
    found = _run(data, lambda service: service.device(thing))
    if as_json:
        print_json(_enrolment_facts(found))
        return
    told = found.device
    print_table(
        (str(thing), ""),
        [
            ("status", told.status),
            ("type", told.type),
            ("labels", _labels(told)),
            ("added", when(told.created_at)),
            ("changed", when(told.updated_at)),
            ("last seen", when(told.last_seen_at) or "never"),
            ("online", "yes" if told.is_online else "no"),
        ],
    )
    print_table(
        ("certificate serial", "status", "valid until", "note"),
        [(c.serial, c.status, when(c.not_after), _note(c)) for c in found.certificates],
    )


@device_app.command("activate")
def activate(
    tenant: TenantArgument, device: DeviceArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Put a pending device that holds a certificate into service."""
    _move(ProvisioningService.activate, data, _thing(tenant, device), as_json)


@device_app.command("suspend")
def suspend(
    tenant: TenantArgument, device: DeviceArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Bar a device for now; `device resume` lets it back in."""
    _move(ProvisioningService.suspend, data, _thing(tenant, device), as_json)


@device_app.command("resume")
def resume(
    tenant: TenantArgument, device: DeviceArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Let a suspended device back in, with the certificate it had."""
    _move(ProvisioningService.resume, data, _thing(tenant, device), as_json)


@device_app.command("decommission")
def decommission(
    tenant: TenantArgument, device: DeviceArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Take a device out of service for good; its name stays taken."""
    _move(ProvisioningService.decommission, data, _thing(tenant, device), as_json)


@device_app.command("revoke")
def revoke(
    tenant: TenantArgument,
    device: DeviceArgument,
    serial: Annotated[
        str | None, typer.Option(help="Only this certificate (default: all of the device).", show_default=False)
    ] = None,
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(model.REVOCATION_REASONS)}.")] = "unspecified",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bar a device's certificates for good; `device renew` gives it a new one."""
    thing, why = _thing(tenant, device), _reason(reason)
    if serial is None:
        after = _run(data, lambda service: service.revoke_device(thing, why))
    else:
        after = _run(data, lambda service: service.revoke_certificate(thing, serial, why))
    _tell(after, as_json)


@device_app.command("renew")
def renew(
    tenant: TenantArgument,
    device: DeviceArgument,
    out: Annotated[Path, typer.Option(help="Folder for device.crt, device.key and ca.crt.")],
    csr: CsrOption = None,
    overlap_hours: Annotated[
        float | None,
        typer.Option(
            min=0, help="The old certificate works this much longer (default: the setting).", show_default=False
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a device its next certificate; the old one keeps working for a while."""
    thing = _thing(tenant, device)
    delivery = Delivery(out)
    delivery.check(thing)
    overlap = None if overlap_hours is None else timedelta(hours=overlap_hours)
    request = csr.read_bytes() if csr else None
    after = _run(data, lambda service: service.renew(thing, keep=delivery.write, csr_pem=request, overlap=overlap))
    _tell(after, as_json)


def _add(
    data: Path | None,
    tenant: TenantId,
    wanted: Sequence[NewDevice],
    out: Path | None,
    *,
    each_its_own: bool,
    csr: Path | None = None,
    is_in_service: bool = True,
    skip_existing: bool = False,
) -> Added:
    request = csr.read_bytes() if csr else None
    delivery = Delivery(out, each_its_own=each_its_own, durable=len(wanted) <= _DURABLE_EACH) if out else None
    if delivery:
        for each in wanted:
            delivery.check(Thing(tenant, each.device))
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("certificates", total=len(wanted))

        def keep(issued: Issued) -> None:
            assert delivery is not None
            delivery.write(issued)
            progress.advance(task)

        def work(service: ProvisioningService) -> Awaitable[Added]:
            return service.add_devices(
                tenant,
                wanted,
                keep=keep if delivery else None,
                csr_pem=request,
                is_in_service=is_in_service,
                skip_existing=skip_existing,
            )

        try:
            added = _run(data, work)
        except BaseException:
            if delivery:
                delivery.discard()
            raise
    if delivery and not delivery.durable:
        os.sync()
    return added


def _run[T](data: Path | None, work: Callable[[ProvisioningService], Awaitable[T]]) -> T:
    """Do `work` with the registry of the stack in `data`."""
    found = context.load(data)
    logs.configure(level="warning", json=found.settings.log.json_lines, process="cli")
    provisioning = found.settings.provisioning
    database = found.settings.database

    async def main() -> T:
        authority = CertificateAuthority.open(found.ca_dir, settings=provisioning)
        app = Database(database.app_url, pool_size=1, statement_timeout_s=database.statement_timeout_s)
        operator = Database(database.operator_url, pool_size=1, statement_timeout_s=database.statement_timeout_s)
        async with app, operator:
            return await work(
                ProvisioningService(app=app, operator=operator, authority=authority, settings=provisioning)
            )

    return asyncio.run(main())


def _move(
    move: Callable[[ProvisioningService, Thing], Awaitable[Enrolment]], data: Path | None, thing: Thing, as_json: bool
) -> None:
    _tell(_run(data, lambda service: move(service, thing)), as_json)


def _thing(tenant: str, device: str) -> Thing:
    return Thing(tenant_id(tenant), device_id(device))


def _reason(text: str) -> Reason:
    wanted = text.lower().replace("-", "_")
    if wanted not in model.REVOCATION_REASONS:
        raise InvalidDevice(f"reason {text[:80]!r} is not allowed: use one of {', '.join(model.REVOCATION_REASONS)}")
    return Reason(wanted)


def _tell(after: Enrolment, as_json: bool) -> None:
    if as_json:
        print_json(_enrolment_facts(after))
        return
    counts = Counter(c.status.value for c in after.certificates)
    told = ", ".join(f"{number} {status}" for status, number in counts.items()) or "none"
    print(f"{after.device.thing} is {after.device.status}; certificates: {told}")


def _device_facts(device: Device) -> dict[str, object]:
    return {
        "tenant": device.thing.tenant,
        "device": device.thing.device,
        "thing": str(device.thing),
        **fields(device, "status", "type", "labels", "version", "created_at", "updated_at", "last_seen_at"),
        "online": device.is_online,
    }


def _enrolment_facts(enrolment: Enrolment) -> dict[str, object]:
    names = ("serial", "fingerprint", "status", "not_before", "not_after", "issued_at", "reason", "ended_at")
    certificates = [fields(c, *names, "overlap_ends_at") for c in enrolment.certificates]
    return {**_device_facts(enrolment.device), "certificates": certificates}


def _note(certificate: Certificate) -> str:
    if certificate.status is CertificateStatus.SUPERSEDED:
        return f"replaced; accepted until {when(certificate.overlap_ends_at)}"
    return f"{certificate.reason} since {when(certificate.ended_at)}" if certificate.reason else ""


def _labels(device: Device) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(device.labels.items()))
