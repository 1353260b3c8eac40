"""The registry over HTTP: devices, their state and their certificates."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.access import Scope
from api.fleet import forms, store
from api.fleet.forms import (
    CertificateBody,
    CertificateState,
    DeviceBody,
    DeviceChange,
    DeviceMade,
    IssuedBody,
    NewCertificate,
    NewDevice,
    Revocation,
)
from api.fleet.given import DevicePath, Labels, Online, device_witness, in_sight, labels_of, thing_in_sight
from api.fleet.store import Search, Wanted
from api.http import problems
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, DeviceNotFound, needs
from api.http.strict import StrictRoute
from api.search import language
from api.search import store as searched
from api.services import Given, Services
from core.tenancy import Thing
from provisioning import model
from provisioning.model import DeviceStatus, Enrolment, Issued, Reason
from provisioning.service import Witness

router = APIRouter(tags=["devices"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.DEVICES_READ)]
Writer = Annotated[Caller, needs(Scope.DEVICES_WRITE)]
Serial = Annotated[str, Path(max_length=128, description="Hexadecimal, as the list of certificates has it")]
Where = Annotated[
    str | None,
    Query(
        max_length=language.MOST_CHARS,
        description="Only those this search finds; docs/search.md has its language",
        examples=["reported.fuel_pct < 20 and online = true and near(47.14, 9.52, 5000)"],
    ),
]
_CHANGE = problems.responses(409)


@router.get("/v1/devices", summary="List devices")
async def list_devices(
    caller: Reader,
    services: Given,
    status: Annotated[DeviceStatus | None, Query(description="Only these")] = None,
    type_: Annotated[str | None, Query(alias="type", max_length=64, description="Only those of this type")] = None,
    label: Labels = None,
    online: Online = None,
    certificate: Annotated[CertificateState | None, Query(description="Only those whose certificate is so")] = None,
    q: Annotated[str | None, Query(min_length=1, max_length=100, description="Part of the id or of a label")] = None,
    where: Where = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[DeviceBody]:
    """By id, with presence, last position and certificate. 422 `invalid_where` says at which position."""
    (after,) = decode(cursor, str) or ("",)
    seen = await in_sight(services, caller)
    wanted = Wanted(only=None if seen is None else sorted(seen), status=status, labels=labels_of(label), online=online)
    search = _search(services, type_=type_, certificate=certificate, q=q)
    clause = None if where is None else searched.clause(language.parse(where), services.clock())
    async with services.app.tenant(caller.tenant) as tx:
        rows = await store.devices(tx, wanted, search, where=clause, after=after, limit=limit + 1)
    return page(rows, limit, key=lambda row: (row["device_id"],), item=lambda row: forms.device(row, caller.tenant))


@router.post("/v1/devices", status_code=201, summary="Register a device", responses=_CHANGE)
async def register_device(form: NewDevice, caller: Writer, services: Given, response: Response) -> DeviceMade:
    """409 `device_exists`, also for a decommissioned one: a name keeps one meaning."""
    new = model.new_device(form.id, form.type, form.labels)
    handed_out: list[Issued] = []
    await services.provisioning.add_devices(
        caller.tenant,
        [new],
        keep=handed_out.append if form.csr else None,
        csr_pem=form.csr.encode() if form.csr else None,
        witness=device_witness(services, caller, "device.registered"),
    )
    made = await _shown(services, Thing(caller.tenant, new.device))
    response.headers["Location"] = f"/v1/devices/{new.device}"
    response.headers["ETag"] = etag(made.version)
    return DeviceMade(**dict(made), issued=forms.issued(handed_out[0]) if handed_out else None)


@router.get("/v1/devices/{device}", summary="Show a device")
async def show_device(device: DevicePath, caller: Reader, services: Given, tagged: Tagged) -> DeviceBody:
    found = await _shown(services, await thing_in_sight(services, caller, device))
    tagged(found.version, also=found.live_part())
    return found


@router.patch("/v1/devices/{device}", summary="Change a device's type or labels", responses=_CHANGE)
async def change_device(
    device: DevicePath, form: DeviceChange, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> DeviceBody:
    thing = await thing_in_sight(services, caller, device)
    witness = device_witness(services, caller, "device.described")
    await services.provisioning.describe(thing, type_=form.type, labels=form.labels, expected=expected, witness=witness)
    found = await _shown(services, thing)
    tagged(found.version, also=found.live_part())
    return found


@router.post("/v1/devices/{device}/activate", summary="Put a device into service", responses=_CHANGE)
async def activate_device(device: DevicePath, caller: Writer, services: Given) -> DeviceBody:
    """From pending, with a certificate that works."""
    return await _moved(services, caller, device, "activated", services.provisioning.activate)


@router.post("/v1/devices/{device}/suspend", summary="Bar a device for now", responses=_CHANGE)
async def suspend_device(device: DevicePath, caller: Writer, services: Given) -> DeviceBody:
    """Its certificates go on hold and its connection is cut."""
    return await _moved(services, caller, device, "suspended", services.provisioning.suspend)


@router.post("/v1/devices/{device}/resume", summary="Let a suspended device back in", responses=_CHANGE)
async def resume_device(device: DevicePath, caller: Writer, services: Given) -> DeviceBody:
    return await _moved(services, caller, device, "resumed", services.provisioning.resume)


@router.post("/v1/devices/{device}/decommission", summary="Take a device out of service for good", responses=_CHANGE)
async def decommission_device(device: DevicePath, caller: Writer, services: Given) -> DeviceBody:
    """Its certificates are revoked; its name stays taken and its history stays readable."""
    return await _moved(services, caller, device, "decommissioned", services.provisioning.decommission)


@router.get("/v1/devices/{device}/certificates", summary="List a device's certificates")
async def list_certificates(device: DevicePath, caller: Reader, services: Given) -> Page[CertificateBody]:
    """All of them, newest first."""
    enrolment = await services.provisioning.device(await thing_in_sight(services, caller, device))
    return Page(items=[forms.certificate(each) for each in enrolment.certificates], next=None)


@router.post(
    "/v1/devices/{device}/certificates", status_code=201, summary="Issue a device's next certificate", responses=_CHANGE
)
async def issue_certificate(device: DevicePath, form: NewCertificate, caller: Writer, services: Given) -> IssuedBody:
    """For a pending or active device; a pending one becomes active by it."""
    thing = await thing_in_sight(services, caller, device)
    handed_out: list[Issued] = []
    await services.provisioning.renew(
        thing,
        keep=handed_out.append,
        csr_pem=form.csr.encode(),
        overlap=form.overlap,
        witness=device_witness(services, caller, "certificate.issued"),
    )
    return forms.issued(handed_out[0])


@router.post("/v1/devices/{device}/certificates/{serial}/revoke", summary="Revoke a certificate", responses=_CHANGE)
async def revoke_certificate(
    device: DevicePath, serial: Serial, form: Revocation, caller: Writer, services: Given
) -> CertificateBody:
    """For good; may be repeated. A device whose last certificate goes is pending."""
    thing = await thing_in_sight(services, caller, device)
    witness = device_witness(services, caller, "certificate.revoked")
    after = await services.provisioning.revoke_certificate(thing, serial, Reason(form.reason), witness=witness)
    wanted = model.plain_serial(serial)
    return next(forms.certificate(each) for each in after.certificates if each.serial == wanted)


async def _moved(
    services: Services, caller: Caller, device: str, done: str, move: Callable[..., Awaitable[Enrolment]]
) -> DeviceBody:
    thing = await thing_in_sight(services, caller, device)
    witness: Witness = device_witness(services, caller, f"device.{done}")
    await move(thing, witness=witness)
    return await _shown(services, thing)


async def _shown(services: Services, thing: Thing) -> DeviceBody:
    async with services.app.tenant(thing.tenant) as tx:
        rows = await store.devices(tx, Wanted(only=[thing.device]), _search(services), limit=1)
    if not rows:
        raise DeviceNotFound(f"there is no device {thing}")
    return forms.device(rows[0], thing.tenant)


def _search(
    services: Services, *, type_: str | None = None, certificate: str | None = None, q: str | None = None
) -> Search:
    now = services.clock()
    soon = now + timedelta(days=services.settings.provisioning.warn_days)
    return Search(type=type_, certificate=certificate, search=q, at=now, soon=soon)
