"""What the fleet's routes share: filters, devices within the caller's sight, and the audit log."""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, runtime_checkable

from fastapi import Path, Query
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from api.access import Role
from api.http.security import Caller, DeviceNotFound
from api.services import Services
from core.db import TenantTx, Tx
from core.tenancy import Thing
from provisioning.model import Device, Enrolment, Tenant
from provisioning.service import TenantWitness, Witness


class Form(BaseModel):
    """A request's body; a field it does not know is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


DevicePath = Annotated[str, Path(max_length=100, description="`truck-17`, or its full name `acme:truck-17`")]
Label = Annotated[str, StringConstraints(max_length=321, pattern=r"^[A-Za-z0-9_.-]{1,64}:[^\x00-\x1f\x7f]{1,256}$")]
Labels = Annotated[
    list[Label] | None,
    Query(alias="label", max_length=16, description="`key:value`; a device must carry every one that is given"),
]
DeviceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Online = Annotated[bool | None, Query(description="Only connected devices, or only those that are not")]


def labels_of(pairs: list[str] | None) -> dict[str, str] | None:
    """Labels that a device must all carry. Raises RequestValidationError for one key with two values."""
    labels: dict[str, str] = {}
    for pair in pairs or ():
        key, _, value = pair.partition(":")
        if labels.setdefault(key, value) != value:
            raise refusal("label", f"{key} is asked for with two values: a device has one")
    return labels or None


def refusal(name: str, message: str) -> RequestValidationError:
    """422 for a query parameter that is right by itself and not with the others."""
    return RequestValidationError([{"type": "value_error", "loc": ("query", name), "msg": message}])


def _bbox(text: str) -> str:
    area(text)
    return text


def area(text: str) -> tuple[float, float, float, float]:
    """West, south, east, north in degrees. Raises ValueError."""
    parts = text.split(",")
    if len(parts) != 4 or not all(len(part) <= 32 for part in parts):
        raise ValueError(_AREA)
    try:
        west, south, east, north = map(float, parts)
    except ValueError:
        raise ValueError(_AREA) from None
    # Written so that NaN, which compares false with everything, is refused.
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError(_AREA)
    return west, south, east, north


_AREA = (
    "an area is west,south,east,north in degrees, such as 9.4,47.0,9.7,47.3; west beyond east spans the 180th meridian"
)
Bbox = Annotated[
    str,
    AfterValidator(_bbox),
    Query(
        max_length=128,
        description="Area `west,south,east,north` in degrees; `west` greater than `east` crosses the 180th meridian",
        examples=["9.4,47.0,9.7,47.3"],
    ),
]


async def in_sight(services: Services, caller: Caller) -> frozenset[str] | None:
    """Names of the devices a site may see now; None for everybody else: all of the tenant."""
    if caller.principal.role is not Role.SITE:
        return None
    return await services.sites.devices(caller.tenant, caller.principal.sites)


async def thing_in_sight(services: Services, caller: Caller, name: str) -> Thing:
    """Raises DeviceNotFound for a name that cannot be the caller's; whether there is such a device is asked later."""
    thing = caller.device(name)
    seen = await in_sight(services, caller)
    if seen is not None and thing.device not in seen:
        raise DeviceNotFound(f"there is no device {thing}")
    return thing


@runtime_checkable
class Auditor(Protocol):
    """`api.identity`, as seen from here."""

    async def audit(
        self,
        tx: Tx,
        caller: Any,
        action: str,
        target: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None: ...


def auditor(services: Services) -> Auditor:
    identity = services.identity
    assert isinstance(identity, Auditor)
    return identity


def device_witness(services: Services, caller: Caller, action: str) -> Witness:
    """Writes the change of a device into the audit log, in the change's own transaction."""

    async def write(tx: TenantTx, before: Enrolment | None, after: Enrolment) -> None:
        told = before and _told(before)
        await auditor(services).audit(
            tx, caller, action, str(after.device.thing), before=told or None, after=_told(after)
        )

    return write


def tenant_witness(services: Services, caller: Caller, action: str) -> TenantWitness:
    async def write(tx: Tx, before: Tenant | None, after: Tenant) -> None:
        told = before and {"name": before.name, "retention_days": before.retention_days}
        facts = {"name": after.name, "retention_days": after.retention_days}
        await auditor(services).audit(tx, caller, action, after.tenant, before=told or None, after=facts)

    return write


def _told(enrolment: Enrolment) -> dict[str, Any]:
    device: Device = enrolment.device
    return {
        "status": device.status.value,
        "type": device.type,
        "labels": dict(device.labels),
        "certificates": {each.serial: each.status.value for each in enrolment.certificates},
    }
