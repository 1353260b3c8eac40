"""Devices, certificates and tenants as JSON."""

import hashlib
from datetime import timedelta
from typing import Annotated, Literal

from psycopg.rows import DictRow
from pydantic import BaseModel, Field, StringConstraints

from api.fleet.given import DeviceName, Form
from api.http.numbers import WHOLE, Number
from api.http.times import Time
from provisioning.model import Certificate, CertificateStatus, DeviceStatus, Issued, Reason, Tenant

CertificateState = Literal["none", "valid", "expiring", "expired", "held", "revoked"]
_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_LabelValue = Annotated[str, StringConstraints(min_length=1, max_length=256)]
LabelMap = Annotated[dict[_Word, _LabelValue], Field(max_length=32)]
_LABELS = "Up to 32; a value has 1 to 256 printable characters"
Pem = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


class Presence(BaseModel):
    """Whether the device is connected to the broker."""

    online: bool
    since: Time | None = Field(description="Since when; null if it never connected")
    disconnect_reason: str | None = Field(description="Why it went; null while it is connected")


class Place(BaseModel):
    """Degrees (WGS 84), metres, m/s, degrees clockwise from north. null = not reported."""

    ts: Time = Field(description="When it was measured")
    lat: float = Field(description="degrees")
    lon: float = Field(description="degrees")
    alt: float | None = Field(description="metres above sea level")
    speed: float | None = Field(description="m/s")
    heading: float | None = Field(description="degrees clockwise from north")
    acc: float | None = Field(description="accuracy, metres")


class CertificateSummary(BaseModel):
    """The certificate the device lives by."""

    state: CertificateState = Field(description="`expiring`: ends within MILKRUN_PROVISIONING_WARN_DAYS")
    serial: str | None
    not_after: Time | None


class DeviceBody(BaseModel):
    """A device with what is known of it now."""

    id: str = Field(examples=["truck-17"])
    thing: str = Field(description="Full name: MQTT client id and certificate CN", examples=["acme:truck-17"])
    type: str = Field(examples=["tanker"])
    labels: dict[str, str] = Field(examples=[{"depot": "north"}])
    status: DeviceStatus
    version: int = Field(description="Of id, type, labels and status; the ETag begins with it")
    created_at: Time
    updated_at: Time
    last_seen_at: Time | None = Field(description="When something of it was last received")
    presence: Presence
    position: Place | None = Field(description="The newest, however old")
    certificate: CertificateSummary

    def live_part(self) -> str:
        """Changes with what changes without a new version."""
        now = self.model_dump_json(include={"last_seen_at", "presence", "position", "certificate"})
        return hashlib.blake2b(now.encode(), digest_size=8).hexdigest()


class NewDevice(Form):
    """A device to register. With a CSR it gets its certificate at once and is active, else it is pending."""

    id: DeviceName = Field(description="1 to 64 characters of A-Z a-z 0-9 _ -", examples=["truck-17"])
    type: _Word = Field("tracker", examples=["tanker"])
    labels: LabelMap = Field({}, description=_LABELS, examples=[{"depot": "north"}])
    csr: Pem | None = Field(None, description="PKCS 10 signing request, PEM; its subject is ignored")


class DeviceChange(Form):
    """What is left out stays; labels are replaced as a whole."""

    type: _Word | None = None
    labels: LabelMap | None = Field(None, description=_LABELS, examples=[{"depot": "south"}])


class IssuedBody(BaseModel):
    """A certificate as it is handed out, this once. The key stayed with the device."""

    serial: str
    fingerprint: str = Field(description="SHA-256 of the DER, hex")
    not_before: Time
    not_after: Time
    certificate_pem: str
    ca_pem: str


class DeviceMade(DeviceBody):
    """The new device, with its certificate when it came with a CSR."""

    issued: IssuedBody | None = None


class CertificateBody(BaseModel):
    """One line of a device's certificates."""

    serial: str
    fingerprint: str = Field(description="SHA-256 of the DER, hex")
    status: CertificateStatus
    reason: Reason | None = Field(description="Why it is barred, while it is")
    not_before: Time
    not_after: Time
    issued_at: Time
    ended_at: Time | None = Field(description="Since when it is superseded, held or revoked")
    overlap_ends_at: Time | None = Field(description="When a superseded one stops working")


class NewCertificate(Form):
    """A certificate for the device's next key. The one before stays valid for `overlap_hours`."""

    csr: Pem = Field(description="PKCS 10 signing request, PEM; its subject is ignored")
    overlap_hours: Annotated[Number, Field(ge=0, le=8760)] | None = Field(
        None, description="Default: the deployment's setting"
    )

    @property
    def overlap(self) -> timedelta | None:
        return None if self.overlap_hours is None else timedelta(hours=self.overlap_hours)


class Revocation(Form):
    """Why. `certificate_hold` is no revocation: suspend the device instead."""

    reason: Literal[
        "unspecified",
        "key_compromise",
        "affiliation_changed",
        "superseded",
        "cessation_of_operation",
        "privilege_withdrawn",
    ] = "unspecified"


class TenantBody(BaseModel):
    """A tenant with the number of its devices."""

    id: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme Dairy"])
    retention_days: int | None = Field(description="How long raw telemetry is kept; null: as the deployment does")
    devices: int
    version: int
    created_at: Time


class NewTenant(Form):
    """A tenant to add."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{2,32}$")] = Field(examples=["acme"])
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="Default: the id", examples=["Acme Dairy"]
    )
    retention_days: Annotated[int, Field(ge=1, le=36_500), WHOLE] | None = None


class TenantChange(Form):
    """What is left out stays; `retention_days: null` is the deployment's own."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    retention_days: Annotated[int, Field(ge=1, le=36_500), WHOLE] | None = None


def device(row: DictRow, tenant: str) -> DeviceBody:
    position = None
    if row["ts"] is not None:
        position = Place(**{name: row[name] for name in ("ts", "lat", "lon", "alt", "speed", "heading", "acc")})
    return DeviceBody(
        id=row["device_id"],
        thing=f"{tenant}:{row['device_id']}",
        type=row["type"],
        labels=row["labels"],
        status=row["status"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        last_seen_at=row["last_seen_at"],
        presence=Presence(online=row["online"], since=row["since"], disconnect_reason=row["reason"]),
        position=position,
        certificate=CertificateSummary(state=row["certificate"], serial=row["serial"], not_after=row["not_after"]),
    )


def issued(handed_out: Issued) -> IssuedBody:
    record = handed_out.record
    return IssuedBody(
        serial=record.serial,
        fingerprint=record.fingerprint,
        not_before=record.not_before,
        not_after=record.not_after,
        certificate_pem=handed_out.certificate_pem.decode(),
        ca_pem=handed_out.ca_pem.decode(),
    )


def certificate(record: Certificate) -> CertificateBody:
    return CertificateBody(
        serial=record.serial,
        fingerprint=record.fingerprint,
        status=record.status,
        reason=record.reason,
        not_before=record.not_before,
        not_after=record.not_after,
        issued_at=record.issued_at,
        ended_at=record.ended_at,
        overlap_ends_at=record.overlap_ends_at,
    )


def tenant(found: Tenant) -> TenantBody:
    return TenantBody(
        id=found.tenant,
        name=found.name,
        retention_days=found.retention_days,
        devices=found.devices,
        version=found.version,
        created_at=found.created_at,
    )
