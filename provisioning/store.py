"""The registry's tables: tenant, device, certificate. Nobody else writes them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from core import sql
from core.db import TenantTx, Tx
from core.tenancy import DeviceId, TenantId, Thing
from provisioning.model import (
    Barred,
    Certificate,
    CertificateStatus,
    Device,
    DeviceStatus,
    Enrolment,
    Reason,
    Tenant,
)


class RegistryStore:
    """One method a query. Methods with a TenantTx see one tenant; those with a plain Tx need the operator login."""

    def __init__(self) -> None:
        self._sql = sql.load("provisioning")

    async def add_tenant(self, tx: Tx, tenant: Tenant) -> bool:
        """Whether it is new."""
        params = {"tenant": tenant.tenant, "name": tenant.name, "days": tenant.retention_days, "at": tenant.created_at}
        return await tx.one(self._sql["add_tenant"], params) is not None

    async def tenants(self, tx: Tx, *, after: str = "", limit: int | None = None) -> list[Tenant]:
        """By name, those after the name `after`."""
        return [_tenant(r) for r in await tx.all(self._sql["tenants"], {"after": after, "limit": limit})]

    async def tenant(self, tx: Tx, tenant: TenantId, *, lock: bool = False) -> Tenant | None:
        """The tenant; `lock` keeps others from changing it until the transaction ends."""
        if lock:
            await tx.execute(self._sql["lock_tenant"], {"tenant": tenant})
        row = await tx.one(self._sql["tenant"], {"tenant": tenant})
        return None if row is None else _tenant(row)

    async def save_tenant(self, tx: Tx, after: Tenant) -> None:
        named = {"tenant": after.tenant, "name": after.name, "days": after.retention_days, "version": after.version}
        await tx.execute(self._sql["save_tenant"], named)

    async def tenant_exists(self, tx: TenantTx) -> bool:
        return await tx.one(self._sql["tenant_exists"], {"tenant": tx.tenant}) is not None

    async def existing(self, tx: TenantTx, devices: Sequence[DeviceId]) -> list[DeviceId]:
        """Those of `devices` that are registered, by name."""
        rows = await tx.all(self._sql["existing_devices"], {"tenant": tx.tenant, "devices": list(devices)})
        return [DeviceId(r["device_id"]) for r in rows]

    async def add(self, tx: TenantTx, enrolments: Sequence[Enrolment]) -> set[DeviceId]:
        """Insert new devices with their certificates; returns the names inserted, without those that were there."""
        devices = [e.device for e in enrolments]
        rows = await tx.all(
            self._sql["add_devices"],
            {
                "tenant": tx.tenant,
                "devices": [d.thing.device for d in devices],
                "statuses": [d.status.value for d in devices],
                "types": [d.type for d in devices],
                "labels": [Jsonb(d.labels) for d in devices],
                "versions": [d.version for d in devices],
                "created": [d.created_at for d in devices],
                "updated": [d.updated_at for d in devices],
            },
        )
        added = {DeviceId(r["device_id"]) for r in rows}
        new = [(e.device, c) for e in enrolments if e.device.thing.device in added for c in e.certificates]
        await self._add_certificates(tx, new)
        return added

    async def devices(
        self, tx: TenantTx, *, status: DeviceStatus | None, labels: Mapping[str, str], after: str, limit: int
    ) -> list[Device]:
        """A page of devices by name, those after `after`."""
        params = {
            "tenant": tx.tenant,
            "status": status and status.value,
            "labels": Jsonb(dict(labels)),
            "after": after,
            "limit": limit,
        }
        return [_device(r) for r in await tx.all(self._sql["devices"], params)]

    async def load(self, tx: TenantTx, device: DeviceId, *, lock: bool = False) -> Enrolment | None:
        """The device with its certificates; `lock` keeps others from changing it until the transaction ends."""
        key = {"tenant": tx.tenant, "device": device}
        if lock:
            await tx.execute(self._sql["lock_device"], key)
        row = await tx.one(self._sql["device"], key)
        if row is None:
            return None
        certificates = await tx.all(self._sql["certificates"], key)
        return Enrolment(_device(row), tuple(_certificate(r) for r in certificates))

    async def save(self, tx: TenantTx, before: Enrolment, after: Enrolment) -> None:
        """Write what differs; `before` is what `load` gave in this transaction, locked."""
        device = after.device
        if device != before.device:
            await tx.execute(
                self._sql["save_device"],
                {
                    "tenant": tx.tenant,
                    "device": device.thing.device,
                    "status": device.status.value,
                    "type": device.type,
                    "labels": Jsonb(dict(device.labels)),
                    "version": device.version,
                    "updated_at": device.updated_at,
                },
            )
        known = {c.serial: c for c in before.certificates}
        # Changes first: the index that allows one active certificate looks at each statement.
        for certificate in after.certificates:
            if certificate.serial in known and certificate != known[certificate.serial]:
                await tx.execute(self._sql["save_certificate"], {"tenant": tx.tenant, **_ending(certificate)})
        await self._add_certificates(tx, [(device, c) for c in after.certificates if c.serial not in known])

    async def lock_revocation_list(self, tx: Tx) -> None:
        """Until the transaction ends nobody else writes the list."""
        await tx.execute(self._sql["lock_revocation_list"])

    async def barred(self, tx: Tx, at: datetime) -> list[Barred]:
        """Every entry the revocation list must have at `at`, of all tenants."""
        rows = await tx.all(self._sql["barred"], {"at": at})
        return [Barred(r["serial"], r["ended_at"], Reason(r["reason"])) for r in rows]

    async def overlaps_over(self, tx: Tx, at: datetime, limit: int) -> list[Thing]:
        """Devices with a superseded certificate whose overlap is over, of all tenants."""
        rows = await tx.all(self._sql["overlaps_over"], {"at": at, "limit": limit})
        return [Thing(TenantId(r["tenant_id"]), DeviceId(r["device_id"])) for r in rows]

    async def expiring(self, tx: Tx, at: datetime, until: datetime) -> int:
        """How many active certificates end between `at` and `until`, of all tenants."""
        row = await tx.one(self._sql["expiring"], {"at": at, "until": until})
        return int(row["expiring"]) if row else 0

    async def _add_certificates(self, tx: TenantTx, new: Sequence[tuple[Device, Certificate]]) -> None:
        if not new:
            return
        await tx.execute(
            self._sql["add_certificates"],
            {
                "tenant": tx.tenant,
                "devices": [d.thing.device for d, _ in new],
                "serials": [c.serial for _, c in new],
                "fingerprints": [c.fingerprint for _, c in new],
                "statuses": [c.status.value for _, c in new],
                "not_before": [c.not_before for _, c in new],
                "not_after": [c.not_after for _, c in new],
                "issued_at": [c.issued_at for _, c in new],
            },
        )


def _tenant(row: DictRow) -> Tenant:
    return Tenant(
        tenant=TenantId(row["tenant_id"]),
        name=row["name"],
        created_at=row["created_at"],
        devices=row["devices"],
        retention_days=row["retention_days"],
        version=row["version"],
    )


def _device(row: DictRow) -> Device:
    return Device(
        thing=Thing(TenantId(row["tenant_id"]), DeviceId(row["device_id"])),
        status=DeviceStatus(row["status"]),
        type=row["type"],
        labels=row["labels"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        last_seen_at=row["last_seen_at"],
        is_online=row["online"],
    )


def _certificate(row: DictRow) -> Certificate:
    return Certificate(
        serial=row["serial"],
        fingerprint=row["fingerprint"],
        status=CertificateStatus(row["status"]),
        not_before=row["not_before"],
        not_after=row["not_after"],
        issued_at=row["issued_at"],
        reason=Reason(row["reason"]) if row["reason"] else None,
        ended_at=row["ended_at"],
        overlap_ends_at=row["overlap_ends_at"],
    )


def _ending(certificate: Certificate) -> dict[str, object]:
    return {
        "serial": certificate.serial,
        "status": certificate.status.value,
        "reason": certificate.reason and certificate.reason.value,
        "ended_at": certificate.ended_at,
        "overlap_ends_at": certificate.overlap_ends_at,
    }
