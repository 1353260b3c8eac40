"""Devices, their certificates, and every move they may make. Pure: each function returns the new state and the news."""

import enum
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from core.clock import epoch_ms
from core.events import (
    CertificateIssued,
    CertificateRevoked,
    DeviceDescribed,
    DeviceRegistered,
    DeviceStatusChanged,
    Event,
)
from core.tenancy import DeviceId, TenantId, Thing, device_id
from provisioning.errors import CertificateNotFound, InvalidDevice, InvalidTenant, MoveNotAllowed, VersionMoved


class DeviceStatus(enum.StrEnum):
    """docs/device-states.md has the picture."""

    PENDING = "pending"  # registered, holds no certificate that works, or waits to be put into service
    ACTIVE = "active"  # in service: may connect, and what it sends counts
    SUSPENDED = "suspended"  # barred for now; its certificates are on hold and come back with `resume`
    DECOMMISSIONED = "decommissioned"  # gone for good; its name stays taken so that history keeps one meaning


MOVES: Mapping[DeviceStatus, frozenset[DeviceStatus]] = {
    DeviceStatus.PENDING: frozenset({DeviceStatus.ACTIVE, DeviceStatus.DECOMMISSIONED}),
    DeviceStatus.ACTIVE: frozenset({DeviceStatus.PENDING, DeviceStatus.SUSPENDED, DeviceStatus.DECOMMISSIONED}),
    DeviceStatus.SUSPENDED: frozenset({DeviceStatus.PENDING, DeviceStatus.ACTIVE, DeviceStatus.DECOMMISSIONED}),
    DeviceStatus.DECOMMISSIONED: frozenset(),
}


class CertificateStatus(enum.StrEnum):
    ACTIVE = "active"  # the device's current certificate; at most one
    SUPERSEDED = "superseded"  # replaced, and still accepted until its overlap ends
    HELD = "held"  # barred while the device is suspended
    REVOKED = "revoked"  # barred for good


LIVE = frozenset({CertificateStatus.ACTIVE, CertificateStatus.SUPERSEDED})
ENDABLE = LIVE | {CertificateStatus.HELD}


class Reason(enum.StrEnum):
    """Why a certificate is barred (RFC 5280 section 5.3.1)."""

    UNSPECIFIED = "unspecified"  # nothing was said
    KEY_COMPROMISE = "key_compromise"  # somebody else may have the private key
    AFFILIATION_CHANGED = "affiliation_changed"  # the device went to another owner
    SUPERSEDED = "superseded"  # replaced, and its overlap is over
    CESSATION_OF_OPERATION = "cessation_of_operation"  # the device is decommissioned
    PRIVILEGE_WITHDRAWN = "privilege_withdrawn"  # the owner no longer wants it to connect
    CERTIFICATE_HOLD = "certificate_hold"  # suspended; the only reason that can be taken back


REVOCATION_REASONS = tuple(reason for reason in Reason if reason is not Reason.CERTIFICATE_HOLD)

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_MAX_LABELS = 32
_MAX_LABEL_LENGTH = 256
MAX_SERIES = 100_000
MAX_RETENTION_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Tenant:
    """`retention_days`: how long raw telemetry is kept; None: as long as the deployment keeps it."""

    tenant: TenantId
    name: str
    created_at: datetime
    devices: int = 0
    retention_days: int | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device somebody wants registered; `new_device` makes one from text."""

    device: DeviceId
    type: str = "tracker"
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Device:
    thing: Thing
    status: DeviceStatus
    type: str
    labels: Mapping[str, str]
    version: int
    created_at: datetime
    updated_at: datetime
    last_seen_at: datetime | None = None
    is_online: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """One line of the registry. `serial` is 32 hexadecimal digits; `overlap_ends_at` is set once it is superseded."""

    serial: str
    fingerprint: str
    status: CertificateStatus
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    reason: Reason | None = None
    ended_at: datetime | None = None
    overlap_ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A device's certificate as it leaves the house. `key_pem` is None when the device kept its key (CSR)."""

    thing: Thing
    record: Certificate
    certificate_pem: bytes
    ca_pem: bytes
    key_pem: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Barred:
    """One entry of the revocation list."""

    serial: str
    at: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device with all its certificates, newest first: what is loaded, changed and saved as one."""

    device: Device
    certificates: tuple[Certificate, ...] = ()

    @property
    def active(self) -> Certificate | None:
        return next((c for c in self.certificates if c.status is CertificateStatus.ACTIVE), None)


type Change = tuple[Enrolment, list[Event]]


def new_tenant(tenant: TenantId, name: str, retention_days: int | None, at: datetime) -> Tenant:
    """Raises InvalidTenant, saying what is allowed."""
    if not (name.isprintable() and 1 <= len(name) <= 200):
        raise InvalidTenant("a tenant's display name has 1 to 200 printable characters")
    if retention_days is not None and not 1 <= retention_days <= MAX_RETENTION_DAYS:
        raise InvalidTenant(f"retention {retention_days} is not allowed: 1 to {MAX_RETENTION_DAYS} days")
    return Tenant(tenant, name, at, retention_days=retention_days)


def changed_tenant(before: Tenant, wanted: Tenant) -> Tenant:
    """`before` with the name and retention of `wanted`, one version on if they differ. Raises InvalidTenant."""
    checked = new_tenant(before.tenant, wanted.name, wanted.retention_days, before.created_at)
    if (checked.name, checked.retention_days) == (before.name, before.retention_days):
        return before
    return replace(before, name=checked.name, retention_days=checked.retention_days, version=before.version + 1)


def require_version(expected: int | None, version: int) -> None:
    """Raises VersionMoved when the caller has seen another version; None: he does not care."""
    if expected is not None and expected != version:
        raise VersionMoved(f"this has changed: it is at version {version} now, not at {expected}")


def new_device(device: str, type_: str = "tracker", labels: Mapping[str, str] | None = None) -> NewDevice:
    """Check names as they come from a person. Raises InvalidName or InvalidDevice, saying what is allowed."""
    labels = labels or {}
    if not _WORD.match(type_):
        raise InvalidDevice(
            f"device type {type_[:80]!r} is not allowed: use 1 to 64 characters of A-Z, a-z, 0-9, '_.-'"
        )
    if len(labels) > _MAX_LABELS:
        raise InvalidDevice(f"{len(labels)} labels: a device carries at most {_MAX_LABELS}")
    for key, value in labels.items():
        if not _WORD.match(key):
            raise InvalidDevice(f"label {key[:80]!r} is not allowed: use 1 to 64 characters of A-Z, a-z, 0-9, '_.-'")
        if not value.isprintable() or not 1 <= len(value) <= _MAX_LABEL_LENGTH:
            raise InvalidDevice(f"label {key} has a value that is not 1 to {_MAX_LABEL_LENGTH} printable characters")
    return NewDevice(device_id(device), type_, dict(labels))


def labels_of(pairs: Iterable[str]) -> dict[str, str]:
    """`["depot=north"]` as a mapping; raises InvalidDevice on a pair without '=' or a key given twice."""
    labels: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidDevice(f"label {pair[:80]!r} has no '=': it is written key=value")
        if key in labels:
            raise InvalidDevice(f"label {key[:80]} is given twice")
        labels[key] = value
    return labels


def series(like: NewDevice, count: int) -> list[NewDevice]:
    """`count` devices named after `like`: truck-17-00001, truck-17-00002, ... Raises InvalidDevice or InvalidName."""
    if not 1 <= count <= MAX_SERIES:
        raise InvalidDevice(f"count {count} is not allowed: 1 to {MAX_SERIES} devices at once")
    width = max(5, len(str(count)))
    return [replace(like, device=device_id(f"{like.device}-{n:0{width}d}")) for n in range(1, count + 1)]


def register(tenant: TenantId, new: NewDevice, at: datetime) -> Change:
    thing = Thing(tenant, new.device)
    device = Device(thing, DeviceStatus.PENDING, new.type, new.labels, 1, at, at)
    return Enrolment(device), [DeviceRegistered(thing=str(thing), type=new.type)]


def describe(
    before: Enrolment, type_: str | None, labels: Mapping[str, str] | None, at: datetime, *, expected: int | None = None
) -> Change:
    """Give the device another type or other labels; None leaves what is there.

    Raises VersionMoved, InvalidDevice, and MoveNotAllowed for a device that is gone for good.
    """
    device = before.device
    require_version(expected, device.version)
    if device.status is DeviceStatus.DECOMMISSIONED:
        raise MoveNotAllowed(f"{device.thing} is decommissioned: its history keeps the type and labels it had")
    wanted = new_device(device.thing.device, type_ or device.type, device.labels if labels is None else labels)
    if (wanted.type, wanted.labels) == (device.type, device.labels):
        return before, []
    after = replace(device, type=wanted.type, labels=wanted.labels, version=device.version + 1, updated_at=at)
    news = DeviceDescribed(thing=str(device.thing), type=after.type, labels=dict(after.labels))
    return replace(before, device=after), [news]


def issue(before: Enrolment, new: Certificate, at: datetime, overlap: timedelta) -> Change:
    """Make `new` the active certificate; the one before stays valid for `overlap`. Raises MoveNotAllowed."""
    device = before.device
    if device.status not in {DeviceStatus.PENDING, DeviceStatus.ACTIVE}:
        raise MoveNotAllowed(
            f"{device.thing} is {device.status}: a certificate goes to a pending or active device only"
        )

    def supersede(old: Certificate) -> Certificate:
        ends = min(at + overlap, old.not_after)
        return replace(old, status=CertificateStatus.SUPERSEDED, ended_at=at, overlap_ends_at=ends)

    certificates = _change(before.certificates, {CertificateStatus.ACTIVE}, supersede)
    news: list[Event] = [
        CertificateIssued(thing=str(device.thing), serial=new.serial, not_after=epoch_ms(new.not_after))
    ]
    after, ended = end_overlaps(replace(before, certificates=(new, *certificates)), at)
    return after, news + ended


def activate(before: Enrolment, at: datetime) -> Change:
    """Put a pending device into service. Raises MoveNotAllowed, also when it has no certificate that works."""
    if before.device.status is DeviceStatus.PENDING and not _can_connect(before, at):
        raise MoveNotAllowed(f"{before.device.thing} has no certificate that works: issue one first (device renew)")
    return _move(before, DeviceStatus.ACTIVE, at)


def suspend(before: Enrolment, at: datetime) -> Change:
    """Bar the device for now: its live certificates go on hold. Raises MoveNotAllowed."""
    after, news = _move(before, DeviceStatus.SUSPENDED, at)

    def hold(live: Certificate) -> Certificate:
        return replace(live, status=CertificateStatus.HELD, reason=Reason.CERTIFICATE_HOLD, ended_at=at)

    return replace(after, certificates=_change(after.certificates, LIVE, hold)), news


def resume(before: Enrolment, at: datetime) -> Change:
    """Take a suspension back; without a certificate that works the device is pending. Raises MoveNotAllowed."""
    if before.device.status is not DeviceStatus.SUSPENDED:
        raise MoveNotAllowed(f"{before.device.thing} is {before.device.status}: only a suspended device is resumed")

    def release(held: Certificate) -> Certificate:
        if held.overlap_ends_at is None:
            return replace(held, status=CertificateStatus.ACTIVE, reason=None, ended_at=None)
        return replace(held, status=CertificateStatus.SUPERSEDED, reason=None)

    # A hold does not stop an overlap's clock, so what ran out meanwhile is ended before the rest comes back.
    current, ended = end_overlaps(before, at)
    freed = _change(current.certificates, {CertificateStatus.HELD}, release)
    released = replace(current, certificates=freed)
    to = DeviceStatus.ACTIVE if _can_connect(released, at) else DeviceStatus.PENDING
    after, news = _move(released, to, at)
    return after, ended + news


def plain_serial(serial: str) -> str:
    """A serial number as the registry has it, however it was written: with colons, in capitals, without zeros."""
    return serial.lower().replace(":", "").rjust(32, "0")


def revoke_certificate(before: Enrolment, serial: str, reason: Reason, at: datetime) -> Change:
    """Bar one certificate for good; doing it twice changes nothing. Raises CertificateNotFound, InvalidDevice."""
    wanted = plain_serial(serial)
    if wanted not in {c.serial for c in before.certificates}:
        raise CertificateNotFound(f"{before.device.thing} never had a certificate with serial {serial[:80]}")
    return _revoke(before, {wanted}, reason, at)


def revoke_device(before: Enrolment, reason: Reason, at: datetime) -> Change:
    """Bar every certificate of the device for good; it keeps its name and waits for a new one. May be repeated."""
    return _revoke(before, {c.serial for c in before.certificates}, reason, at)


def decommission(before: Enrolment, at: datetime) -> Change:
    """Take the device out of service for good. Raises MoveNotAllowed when it already is."""
    after, news = _move(before, DeviceStatus.DECOMMISSIONED, at)
    revoked, ended = revoke_device(after, Reason.CESSATION_OF_OPERATION, at)
    return revoked, news + ended


def end_overlaps(before: Enrolment, at: datetime) -> Change:
    """Revoke what was superseded and whose overlap is over."""
    over = {
        c.serial
        for c in before.certificates
        if c.status in ENDABLE and c.overlap_ends_at is not None and c.overlap_ends_at <= at
    }
    return _revoke(before, over, Reason.SUPERSEDED, at)


def list_changes(before: Enrolment, after: Enrolment) -> tuple[list[Barred], set[str]]:
    """What a change means for the revocation list: entries to add, serials to take off."""
    listed = {CertificateStatus.HELD, CertificateStatus.REVOKED}
    was = {c.serial: c for c in before.certificates}
    changed = [c for c in after.certificates if c != was.get(c.serial)]
    bar = [Barred(c.serial, c.ended_at, c.reason) for c in changed if c.status in listed and c.ended_at and c.reason]
    free = {c.serial for c in changed if c.status not in listed and c.serial in was and was[c.serial].status in listed}
    return bar, free


def _revoke(before: Enrolment, serials: Collection[str], reason: Reason, at: datetime) -> Change:
    if reason is Reason.CERTIFICATE_HOLD:
        raise InvalidDevice("a hold is no revocation: suspend the device instead")
    ending = [c for c in before.certificates if c.serial in serials and c.status in ENDABLE]
    if not ending:
        return before, []

    def end(live: Certificate) -> Certificate:
        if live.serial not in serials:
            return live
        return replace(live, status=CertificateStatus.REVOKED, reason=reason, ended_at=at)

    thing = str(before.device.thing)
    after = replace(before, certificates=_change(before.certificates, ENDABLE, end))
    news: list[Event] = [CertificateRevoked(thing=thing, serial=c.serial, reason=reason.value) for c in ending]
    if after.device.status is DeviceStatus.ACTIVE and not any(c.status in LIVE for c in after.certificates):
        after, moved = _move(after, DeviceStatus.PENDING, at)
        news += moved
    return after, news


def _move(before: Enrolment, to: DeviceStatus, at: datetime) -> Change:
    device = before.device
    allowed = MOVES[device.status]
    if to not in allowed:
        may = f"from there it may become {', '.join(sorted(allowed))}" if allowed else "nothing follows that"
        raise MoveNotAllowed(f"{device.thing} is {device.status} and cannot become {to}: {may}")
    moved = replace(device, status=to, version=device.version + 1, updated_at=at)
    return replace(before, device=moved), [DeviceStatusChanged(thing=str(device.thing), status=to.value)]


def _change(
    certificates: tuple[Certificate, ...],
    statuses: Collection[CertificateStatus],
    change: Callable[[Certificate], Certificate],
) -> tuple[Certificate, ...]:
    return tuple(change(c) if c.status in statuses else c for c in certificates)


def _can_connect(enrolment: Enrolment, at: datetime) -> bool:
    return any(c.status in LIVE and c.not_after > at for c in enrolment.certificates)
