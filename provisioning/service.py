"""The device lifecycle, one method a use case.

State and news share a transaction. The revocation list reaches the disk inside that transaction, before it commits:
whoever hears the news and reloads the list finds it there. Afterwards the list is compared with the registry, which is
the truth.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from prometheus_client import Counter, Gauge

from core import outbox
from core.clock import Clock, utc_now
from core.db import Database, DatabaseUnavailable, TenantTx, Tx
from core.metrics import READY
from core.settings import ProvisioningSettings
from core.tenancy import DeviceId, TenantId, Thing
from provisioning import model
from provisioning.ca import CertificateAuthority
from provisioning.errors import DeviceExists, DeviceNotFound, InvalidDevice, TenantExists, TenantNotFound
from provisioning.model import Change, Device, DeviceStatus, Enrolment, Issued, NewDevice, Reason, Tenant
from provisioning.store import RegistryStore

type Keep = Callable[[Issued], None]
type Witness = Callable[[TenantTx, Enrolment | None, Enrolment], Awaitable[None]]
"""Told of a change, before and after, inside its transaction: what it writes is there if and only if the change is."""
type TenantWitness = Callable[[Tx, Tenant | None, Tenant], Awaitable[None]]

EXPIRING = Gauge("milkrun_provisioning_expiring_certificates", "Active certificates that end within the warning time")
BARRED = Gauge("milkrun_provisioning_barred_certificates", "Entries of the revocation list")
ISSUED = Counter("milkrun_provisioning_issued_total", "Device certificates issued")

_EVENTS_A_ROW = 1000
_SWEEP_AT_ONCE = 500
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Added:
    """What an addition did. `existing` is empty unless the caller asked to skip what is there."""

    devices: list[Device]
    existing: list[DeviceId]


class ProvisioningService:
    """Tenants, their devices, and the certificates these devices live by.

    `app` is the milkrun_app login and serves everything of one tenant; `operator` is the milkrun_operator login, for
    tenants themselves and for the revocation list, which is one for all.
    """

    def __init__(
        self,
        *,
        app: Database,
        operator: Database,
        authority: CertificateAuthority,
        settings: ProvisioningSettings,
        clock: Clock = utc_now,
    ) -> None:
        self._app = app
        self._operator = operator
        self._authority = authority
        self._settings = settings
        self._clock = clock
        self._store = RegistryStore()

    async def add_tenant(
        self,
        tenant: TenantId,
        name: str = "",
        *,
        retention_days: int | None = None,
        witness: TenantWitness | None = None,
    ) -> Tenant:
        """Raises TenantExists, InvalidTenant."""
        added = model.new_tenant(tenant, name or tenant, retention_days, self._clock())
        async with self._operator.unscoped(reason="a tenant is added from outside of any tenant") as tx:
            if not await self._store.add_tenant(tx, added):
                raise TenantExists(f"tenant {tenant} exists already")
            if witness:
                await witness(tx, None, added)
        return added

    async def change_tenant(
        self,
        tenant: TenantId,
        change: Callable[[Tenant], Tenant],
        *,
        expected: int | None = None,
        witness: TenantWitness | None = None,
    ) -> Tenant:
        """Give the tenant another name or retention. Raises TenantNotFound, VersionMoved, InvalidTenant."""
        async with self._operator.unscoped(reason="a tenant is changed from outside of any tenant") as tx:
            before = await self._store.tenant(tx, tenant, lock=True)
            if before is None:
                raise TenantNotFound(f"there is no tenant {tenant}")
            model.require_version(expected, before.version)
            after = model.changed_tenant(before, change(before))
            if after != before:
                await self._store.save_tenant(tx, after)
                if witness:
                    await witness(tx, before, after)
        return after

    async def tenant(self, tenant: TenantId) -> Tenant:
        """Raises TenantNotFound."""
        async with self._operator.unscoped(reason="an operator looks at a tenant") as tx:
            found = await self._store.tenant(tx, tenant)
        if found is None:
            raise TenantNotFound(f"there is no tenant {tenant}")
        return found

    async def tenants(self, *, after: str = "", limit: int | None = None) -> list[Tenant]:
        """All tenants by name, or a page of those after the name `after`, each with its number of devices."""
        async with self._operator.unscoped(reason="the operator's list of tenants") as tx:
            return await self._store.tenants(tx, after=after, limit=limit)

    async def has_tenant(self, tenant: TenantId) -> bool:
        async with self._app.tenant(tenant) as tx:
            return await self._store.tenant_exists(tx)

    async def add_devices(
        self,
        tenant: TenantId,
        wanted: Sequence[NewDevice],
        *,
        keep: Keep | None = None,
        csr_pem: bytes | None = None,
        is_in_service: bool = True,
        skip_existing: bool = False,
        witness: Witness | None = None,
    ) -> Added:
        """Register devices, all or none, each with a certificate if `keep` is there to take it.

        `keep` gets certificate and key of each device in a worker thread, before the registry knows of them: a key that
        could not be kept is never promised. With a certificate a device is active unless `is_in_service` says no.
        Raises TenantNotFound, DeviceExists (unless `skip_existing`), InvalidRequest.
        """
        if csr_pem is not None and len(wanted) != 1:
            raise InvalidDevice("a signing request is good for one device")
        existing = await self._existing(tenant, wanted, skip=skip_existing)
        new = [each for each in wanted if each.device not in existing]
        issued = await asyncio.to_thread(self._issue_all, tenant, new, csr_pem, keep) if keep else [None] * len(new)
        now = self._clock()
        changes = [self._enrol(tenant, each, cert, is_in_service) for each, cert in zip(new, issued, strict=True)]
        async with self._app.tenant(tenant) as tx:
            added = await self._store.add(tx, [enrolment for enrolment, _ in changes])
            # Somebody was quicker between the look and the insert.
            taken = [each.device for each in new if each.device not in added]
            if taken:
                raise DeviceExists(_taken(tenant, taken))
            news = [event for _, events in changes for event in events]
            for part in itertools.batched(news, _EVENTS_A_ROW):
                await outbox.add(tx, part)
            if witness:
                for enrolment, _ in changes:
                    await witness(tx, None, enrolment)
        ISSUED.inc(sum(cert is not None for cert in issued))
        _log.info("provisioning.devices_added", tenant=tenant, devices=len(new), at=now.isoformat())
        return Added([enrolment.device for enrolment, _ in changes], sorted(existing))

    async def devices(
        self,
        tenant: TenantId,
        *,
        status: DeviceStatus | None = None,
        labels: Mapping[str, str] | None = None,
        after: str = "",
        limit: int = 1000,
    ) -> list[Device]:
        """A page of the tenant's devices by name, those after the name `after`. Raises TenantNotFound."""
        async with self._app.tenant(tenant) as tx:
            await self._require_tenant(tx)
            return await self._store.devices(tx, status=status, labels=labels or {}, after=after, limit=limit)

    async def device(self, thing: Thing) -> Enrolment:
        """The device with its certificates, newest first. Raises DeviceNotFound."""
        async with self._app.tenant(thing.tenant) as tx:
            return await self._load(tx, thing, lock=False)

    async def activate(self, thing: Thing, *, witness: Witness | None = None) -> Enrolment:
        """Put a pending device that holds a certificate into service. Raises DeviceNotFound, MoveNotAllowed."""
        return await self._change(thing, lambda before: model.activate(before, self._clock()), witness=witness)

    async def suspend(self, thing: Thing, *, witness: Witness | None = None) -> Enrolment:
        """Bar the device until `resume`. Raises DeviceNotFound, MoveNotAllowed."""
        return await self._change(thing, lambda before: model.suspend(before, self._clock()), witness=witness)

    async def resume(self, thing: Thing, *, witness: Witness | None = None) -> Enrolment:
        """Let a suspended device back in with the certificates it had. Raises DeviceNotFound, MoveNotAllowed."""
        return await self._change(thing, lambda before: model.resume(before, self._clock()), witness=witness)

    async def decommission(self, thing: Thing, *, witness: Witness | None = None) -> Enrolment:
        """Take the device out of service for good. Raises DeviceNotFound, MoveNotAllowed."""
        return await self._change(thing, lambda before: model.decommission(before, self._clock()), witness=witness)

    async def describe(
        self,
        thing: Thing,
        *,
        type_: str | None = None,
        labels: Mapping[str, str] | None = None,
        expected: int | None = None,
        witness: Witness | None = None,
    ) -> Enrolment:
        """Give the device another type or other labels; None leaves what is there.

        Raises DeviceNotFound, VersionMoved, InvalidDevice, MoveNotAllowed.
        """

        def described(before: Enrolment) -> Change:
            return model.describe(before, type_, labels, self._clock(), expected=expected)

        return await self._change(thing, described, witness=witness)

    async def renew(
        self,
        thing: Thing,
        *,
        keep: Keep,
        csr_pem: bytes | None = None,
        overlap: timedelta | None = None,
        witness: Witness | None = None,
    ) -> Enrolment:
        """Issue the device's next certificate; the one before stays valid for `overlap` (default: the setting).

        A pending device becomes active by it. Raises DeviceNotFound, MoveNotAllowed, InvalidRequest.
        """
        window = timedelta(hours=self._settings.overlap_hours) if overlap is None else overlap

        issued = await asyncio.to_thread(self._issue, thing, csr_pem)

        def renewed(before: Enrolment) -> Change:
            now = self._clock()
            after, news = model.issue(before, issued.record, now, window)
            if after.device.status is DeviceStatus.PENDING:
                after, moved = model.activate(after, now)
                news += moved
            return after, news

        after = await self._change(thing, renewed, before_commit=lambda: keep(issued), witness=witness)
        ISSUED.inc()
        return after

    async def revoke_certificate(
        self, thing: Thing, serial: str, reason: Reason = Reason.UNSPECIFIED, *, witness: Witness | None = None
    ) -> Enrolment:
        """Bar one certificate for good; may be repeated. Raises DeviceNotFound, CertificateNotFound."""

        def revoked(before: Enrolment) -> Change:
            return model.revoke_certificate(before, serial, reason, self._clock())

        return await self._change(thing, revoked, witness=witness)

    async def revoke_device(self, thing: Thing, reason: Reason = Reason.UNSPECIFIED) -> Enrolment:
        """Bar every certificate of the device for good; may be repeated. Raises DeviceNotFound."""
        return await self._change(thing, lambda before: model.revoke_device(before, reason, self._clock()))

    async def publish_revocations(self) -> None:
        """Make the list on disk say what the registry says."""
        async with self._operator.unscoped(reason="the revocation list is one for all tenants") as tx:
            await self._store.lock_revocation_list(tx)
            barred = await self._store.barred(tx, self._clock())
            changed = await asyncio.to_thread(self._authority.revocations.replace, barred)
        BARRED.set(len(barred))
        if changed:
            _log.info("provisioning.revocation_list_written", entries=len(barred))

    async def sweep(self) -> None:
        """End the overlaps that are over, count what expires soon, and put the revocation list right."""
        now = self._clock()
        while True:
            async with self._operator.unscoped(reason="overlaps end in every tenant") as tx:
                over = await self._store.overlaps_over(tx, now, _SWEEP_AT_ONCE)
            for thing in over:
                await self._change(thing, lambda before: model.end_overlaps(before, now), publish=False)
            if len(over) < _SWEEP_AT_ONCE:
                break
        async with self._operator.unscoped(reason="certificates expire in every tenant") as tx:
            soon = await self._store.expiring(tx, now, now + timedelta(days=self._settings.warn_days))
        EXPIRING.set(soon)
        if soon:
            _log.warning("provisioning.certificates_expiring", count=soon, within_days=self._settings.warn_days)
        await self.publish_revocations()

    async def run(self) -> None:
        """Sweep until cancelled; an outage of the database and a full disk are waited out."""
        while True:
            try:
                await self.sweep()
                READY.set(1)
            except (DatabaseUnavailable, OSError) as error:
                READY.set(0)
                _log.error("provisioning.waiting", error=str(error))
            await asyncio.sleep(self._settings.sweep_every_s)

    async def _change(
        self,
        thing: Thing,
        change: Callable[[Enrolment], Change],
        *,
        before_commit: Callable[[], None] | None = None,
        publish: bool = True,
        witness: Witness | None = None,
    ) -> Enrolment:
        is_list_touched = False
        try:
            async with self._app.tenant(thing.tenant) as tx:
                before = await self._load(tx, thing, lock=True)
                after, news = change(before)
                await self._store.save(tx, before, after)
                await outbox.add(tx, news)
                if witness and after != before:
                    await witness(tx, before, after)
                bar, free = model.list_changes(before, after)
                if bar or free:
                    # Held until commit, so no other writer can put back a list without this change.
                    await self._store.lock_revocation_list(tx)
                    is_list_touched = True
                    revocations = self._authority.revocations
                    await asyncio.to_thread(revocations.amend, bar=bar, free=free)
                if before_commit:
                    await asyncio.to_thread(before_commit)
        finally:
            # Also after a commit that failed: then the list says more, or less, than is true.
            if is_list_touched and publish:
                await self.publish_revocations()
        return after

    async def _load(self, tx: TenantTx, thing: Thing, *, lock: bool) -> Enrolment:
        found = await self._store.load(tx, thing.device, lock=lock)
        if found is None:
            raise DeviceNotFound(f"there is no device {thing}")
        return found

    async def _require_tenant(self, tx: TenantTx) -> None:
        if not await self._store.tenant_exists(tx):
            raise TenantNotFound(f"there is no tenant {tx.tenant}: add it first (milkrun tenant add {tx.tenant})")

    async def _existing(self, tenant: TenantId, wanted: Sequence[NewDevice], *, skip: bool) -> set[DeviceId]:
        async with self._app.tenant(tenant) as tx:
            await self._require_tenant(tx)
            existing = await self._store.existing(tx, [each.device for each in wanted])
        if existing and not skip:
            raise DeviceExists(_taken(tenant, existing))
        return set(existing)

    def _issue_all(self, tenant: TenantId, new: Sequence[NewDevice], csr_pem: bytes | None, keep: Keep) -> list[Issued]:
        issued = []
        for each in new:
            certificate = self._issue(Thing(tenant, each.device), csr_pem)
            keep(certificate)
            issued.append(certificate)
        return issued

    def _issue(self, thing: Thing, csr_pem: bytes | None) -> Issued:
        if csr_pem is None:
            return self._authority.issue(thing)
        return self._authority.issue_from_csr(csr_pem, thing)

    def _enrol(self, tenant: TenantId, new: NewDevice, issued: Issued | None, is_in_service: bool) -> Change:
        now = self._clock()
        enrolment, news = model.register(tenant, new, now)
        if issued is None:
            return enrolment, news
        enrolment, more = model.issue(enrolment, issued.record, now, timedelta(0))
        news += more
        if is_in_service:
            enrolment, more = model.activate(enrolment, now)
            news += more
        return enrolment, news


def _taken(tenant: TenantId, devices: Sequence[DeviceId]) -> str:
    shown = ", ".join(devices[:5]) + (f" and {len(devices) - 5} more" if len(devices) > 5 else "")
    return f"already registered in tenant {tenant}: {shown}; nothing was added"
