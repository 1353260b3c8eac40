import asyncio
import threading
from collections import Counter
from datetime import timedelta

import psycopg
import pytest
import structlog
from cryptography import x509

from core.errors import NotFound
from core.events import CertificateIssued, CertificateRevoked, DeviceRegistered, DeviceStatusChanged
from core.tenancy import TenantId, Thing
from provisioning import model
from provisioning.errors import (
    CertificateNotFound,
    DeviceExists,
    DeviceNotFound,
    InvalidDevice,
    MoveNotAllowed,
    TenantExists,
    TenantNotFound,
)
from provisioning.keyfiles import Delivery
from provisioning.model import CertificateStatus, DeviceStatus, Reason, new_device
from tests.provisioning.conftest import ACME, BETA, Registry, thing

pytestmark = pytest.mark.db


async def statuses(registry: Registry, of: Thing) -> Counter[str]:
    return Counter(c.status.value for c in (await registry.service.device(of)).certificates)


async def test_a_tenant_is_added_once_and_counted_with_its_devices(registry) -> None:
    await registry.add("truck-1")
    assert [(t.tenant, t.devices) for t in await registry.service.tenants()] == [("acme", 1), ("beta", 0)]
    with pytest.raises(TenantExists):
        await registry.service.add_tenant(ACME)


async def test_a_device_added_with_a_certificate_is_active_and_its_news_is_in_the_outbox(registry) -> None:
    issued = await registry.add("truck-1")
    found = await registry.service.device(thing("truck-1"))
    assert found.device.status is DeviceStatus.ACTIVE
    assert [c.serial for c in found.certificates] == [issued.record.serial]
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    assert certificate.subject.rfc4514_string() == "CN=acme:truck-1"
    assert found.active.not_after == certificate.not_valid_after_utc
    assert await registry.news() == [
        DeviceRegistered(thing="acme:truck-1", type="tracker"),
        CertificateIssued(
            thing="acme:truck-1",
            serial=issued.record.serial,
            not_after=int(certificate.not_valid_after_utc.timestamp() * 1000),
        ),
        DeviceStatusChanged(thing="acme:truck-1", status="active"),
    ]


async def test_a_device_registered_alone_is_pending_until_it_gets_a_certificate(registry) -> None:
    await registry.service.add_devices(ACME, [new_device("truck-1")])
    with pytest.raises(MoveNotAllowed, match="issue one first"):
        await registry.service.activate(thing("truck-1"))
    after = await registry.service.renew(thing("truck-1"), keep=registry.kept.append)
    assert after.device.status is DeviceStatus.ACTIVE


async def test_a_device_can_hold_its_certificate_and_wait_to_be_put_into_service(registry) -> None:
    await registry.service.add_devices(ACME, [new_device("truck-1")], keep=registry.kept.append, is_in_service=False)
    assert (await registry.service.device(thing("truck-1"))).device.status is DeviceStatus.PENDING
    assert (await registry.service.activate(thing("truck-1"))).device.status is DeviceStatus.ACTIVE


async def test_many_devices_are_all_added_or_none(registry) -> None:
    await registry.add("truck-00002")
    news = await registry.news()
    with pytest.raises(DeviceExists, match="truck-00002; nothing was added"):
        await registry.service.add_devices(ACME, model.series(new_device("truck"), 3), keep=registry.kept.append)
    assert [d.thing.device for d in await registry.service.devices(ACME)] == ["truck-00002"]
    assert len(registry.kept) == 1
    assert await registry.news() == news


async def test_two_additions_of_the_same_names_at_once_add_them_once(registry) -> None:
    wanted = model.series(new_device("truck"), 50)
    results = await asyncio.gather(
        *(registry.service.add_devices(ACME, wanted, keep=registry.kept.append) for _ in range(3)),
        return_exceptions=True,
    )
    assert sorted(type(r).__name__ for r in results) == ["Added", "DeviceExists", "DeviceExists"]
    assert len(await registry.service.devices(ACME)) == 50
    assert Counter(type(n).__name__ for n in await registry.news())["CertificateIssued"] == 50


async def test_existing_devices_can_be_skipped_and_are_named(registry) -> None:
    await registry.add("truck-1")
    added = await registry.service.add_devices(
        ACME, [new_device("truck-1"), new_device("truck-2")], keep=registry.kept.append, skip_existing=True
    )
    assert [d.thing.device for d in added.devices] == ["truck-2"]
    assert added.existing == ["truck-1"]


async def test_a_key_that_could_not_be_kept_registers_nothing(registry) -> None:
    def full(_issued) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await registry.service.add_devices(ACME, [new_device("truck-1")], keep=full)
    with pytest.raises(DeviceNotFound):
        await registry.service.device(thing("truck-1"))
    issued = await registry.add("truck-2")
    with pytest.raises(OSError, match="No space left"):
        await registry.service.renew(thing("truck-2"), keep=full)
    assert (await registry.service.device(thing("truck-2"))).active.serial == issued.record.serial


async def test_an_unknown_tenant_is_said_to_be_unknown(registry) -> None:
    with pytest.raises(TenantNotFound):
        await registry.service.add_devices(TenantId("gamma"), [new_device("truck-1")])
    with pytest.raises(TenantNotFound):
        await registry.service.devices(TenantId("gamma"))


async def test_one_signing_request_is_for_one_device(registry) -> None:
    with pytest.raises(InvalidDevice):
        await registry.service.add_devices(
            ACME, model.series(new_device("t"), 2), keep=registry.kept.append, csr_pem=b"x"
        )


async def test_a_device_of_another_tenant_is_not_found_by_any_use_case(registry) -> None:
    issued = await registry.add("truck-1", BETA)
    before = await registry.service.device(thing("truck-1", BETA))
    foreign, service = thing("truck-1", ACME), registry.service
    for attempt in (
        service.device(foreign),
        service.activate(foreign),
        service.suspend(foreign),
        service.resume(foreign),
        service.decommission(foreign),
        service.renew(foreign, keep=registry.kept.append),
        service.revoke_device(foreign),
        service.revoke_certificate(foreign, issued.record.serial),
    ):
        with pytest.raises(NotFound) as refused:
            await attempt
        assert str(refused.value) == "there is no device acme:truck-1"
    assert await service.device(thing("truck-1", BETA)) == before
    assert registry.listed() == {}
    assert await service.devices(ACME) == []
    await registry.add("truck-1", ACME)
    with pytest.raises(CertificateNotFound):
        await service.revoke_certificate(foreign, issued.record.serial)


async def test_the_app_login_without_a_tenant_sees_no_device(registry) -> None:
    await registry.add("truck-1")
    for table in ("tenant", "device", "certificate", "device_seen"):
        async with registry.app.unscoped(reason="a test looks without a tenant") as tx:
            assert await tx.all(f"SELECT * FROM {table}") == []


async def test_certificates_issued_at_once_leave_one_active(registry) -> None:
    await registry.add("truck-1")
    await asyncio.gather(*(registry.service.renew(thing("truck-1"), keep=registry.kept.append) for _ in range(12)))
    assert await statuses(registry, thing("truck-1")) == {"active": 1, "superseded": 12}
    assert len({issued.record.serial for issued in registry.kept}) == 13


async def test_the_old_certificate_works_through_its_overlap_and_is_listed_after_it(
    registry, openssl, tmp_path
) -> None:
    old = await registry.add("truck-1")
    await registry.service.renew(thing("truck-1"), keep=registry.kept.append)
    new = registry.kept[-1]

    def accepted(issued) -> bool:
        out = Delivery(tmp_path / issued.record.serial)
        out.write(issued)
        paths = registry.authority.paths
        return not openssl(
            "verify", "-crl_check", "-CAfile", paths.device_ca, "-CRLfile", paths.crl, out.out / "device.crt"
        ).returncode

    await registry.service.sweep()
    assert accepted(old)
    assert accepted(new)
    registry.clock.advance(timedelta(days=7))
    await registry.service.sweep()
    assert registry.listed() == {old.record.serial: "superseded"}
    assert await statuses(registry, thing("truck-1")) == {"active": 1, "revoked": 1}
    assert (await registry.news())[-1] == CertificateRevoked(
        thing="acme:truck-1", serial=old.record.serial, reason="superseded"
    )


async def test_suspended_devices_are_listed_as_held_and_resumed_ones_are_not_listed(registry) -> None:
    issued = await registry.add("truck-1")
    await registry.add("truck-2")
    await registry.service.suspend(thing("truck-1"))
    assert registry.listed() == {issued.record.serial: "certificate_hold"}
    await registry.service.resume(thing("truck-1"))
    assert registry.listed() == {}
    assert (await registry.service.device(thing("truck-1"))).device.status is DeviceStatus.ACTIVE
    assert [n.status for n in await registry.news() if isinstance(n, DeviceStatusChanged)][-2:] == [
        "suspended",
        "active",
    ]


async def test_a_revoked_device_waits_for_a_new_certificate_and_comes_back_with_it(registry) -> None:
    old = await registry.add("truck-1")
    after = await registry.service.revoke_device(thing("truck-1"), Reason.KEY_COMPROMISE)
    assert after.device.status is DeviceStatus.PENDING
    assert registry.listed() == {old.record.serial: "key_compromise"}
    assert [type(n).__name__ for n in (await registry.news())[-2:]] == ["CertificateRevoked", "DeviceStatusChanged"]
    renewed = await registry.service.renew(thing("truck-1"), keep=registry.kept.append)
    assert renewed.device.status is DeviceStatus.ACTIVE
    assert registry.listed() == {old.record.serial: "key_compromise"}


async def test_doing_it_twice_changes_and_announces_nothing(registry) -> None:
    issued = await registry.add("truck-1")
    await registry.service.revoke_certificate(thing("truck-1"), issued.record.serial)
    before, news = await registry.service.device(thing("truck-1")), await registry.news()
    listed = registry.authority.paths.crl.read_bytes()
    await registry.service.revoke_certificate(thing("truck-1"), issued.record.serial, Reason.KEY_COMPROMISE)
    await registry.service.revoke_device(thing("truck-1"))
    assert (await registry.service.device(thing("truck-1")), await registry.news()) == (before, news)
    assert registry.authority.paths.crl.read_bytes() == listed


async def test_revocations_of_many_devices_at_once_are_all_listed(registry) -> None:
    for tenant in (ACME, BETA):
        await registry.service.add_devices(tenant, model.series(new_device("t"), 10), keep=registry.kept.append)
    await asyncio.gather(*(registry.service.revoke_device(issued.thing) for issued in registry.kept))
    assert set(registry.listed()) == {issued.record.serial for issued in registry.kept}


async def test_a_lost_list_is_made_again_from_the_registry_for_all_tenants(registry) -> None:
    for tenant in (ACME, BETA):
        await registry.add("truck-1", tenant)
        await registry.service.revoke_device(thing("truck-1", tenant), Reason.KEY_COMPROMISE)
    listed = registry.listed()
    assert len(listed) == 2
    registry.authority.paths.crl.unlink()
    await registry.service.sweep()
    assert registry.listed() == listed


async def test_an_expired_certificate_leaves_the_list(registry) -> None:
    await registry.add("truck-1")
    await registry.service.revoke_device(thing("truck-1"))
    registry.clock.advance(timedelta(days=366))
    await registry.service.sweep()
    assert len(registry.listed()) == 1
    registry.clock.advance(timedelta(days=2))
    await registry.service.sweep()
    assert registry.listed() == {}


async def test_the_list_is_on_disk_before_anybody_can_hear_the_news(registry) -> None:
    issued = await registry.add("truck-1")
    news = await registry.news()
    # A trigger that fires at commit waits for this lock, so the commit stands still while the test looks.
    with psycopg.connect(registry.urls.owner, autocommit=True) as owner:
        _at_commit(owner, "PERFORM pg_advisory_xact_lock(42)")
        owner.execute("SELECT pg_advisory_lock(42)")
        revoking = asyncio.create_task(registry.service.revoke_device(thing("truck-1")))
        try:
            for _ in range(500):
                if registry.listed():
                    break
                await asyncio.sleep(0.01)
            assert set(registry.listed()) == {issued.record.serial}
            assert await registry.news() == news
        finally:
            owner.execute("SELECT pg_advisory_unlock(42)")
            await revoking
    assert len(await registry.news()) > len(news)


@pytest.mark.parametrize("move", ["suspend", "resume"])
async def test_a_change_that_does_not_commit_leaves_the_list_as_it_was(registry, move) -> None:
    await registry.add("truck-1")
    if move == "resume":
        await registry.service.suspend(thing("truck-1"))
    listed = registry.listed()
    with psycopg.connect(registry.urls.owner, autocommit=True) as owner:
        _at_commit(owner, "RAISE EXCEPTION 'no commit today'")
    with pytest.raises(psycopg.errors.RaiseException):
        await getattr(registry.service, move)(thing("truck-1"))
    assert registry.listed() == listed


def _at_commit(owner: psycopg.Connection, statement: str) -> None:
    owner.execute(
        f"CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {statement}; RETURN NULL; END$$"
    )
    owner.execute(
        "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON device DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION at_commit()"
    )


async def test_devices_are_listed_in_pages_by_status_and_label(registry) -> None:
    await registry.service.add_devices(
        ACME,
        [new_device(f"t-{n}", labels={"depot": "north" if n % 2 else "south", "n": str(n)}) for n in range(6)],
        keep=registry.kept.append,
    )
    await registry.service.suspend(thing("t-3"))

    async def names(**wanted) -> list[str]:
        return [d.thing.device for d in await registry.service.devices(ACME, **wanted)]

    assert await names(labels={"depot": "north"}) == ["t-1", "t-3", "t-5"]
    assert await names(labels={"depot": "north", "n": "5"}) == ["t-5"]
    assert await names(status=DeviceStatus.SUSPENDED) == ["t-3"]
    assert await names(limit=2) == ["t-0", "t-1"]
    assert await names(limit=2, after="t-1") == ["t-2", "t-3"]


async def test_what_ingest_and_broker_know_of_a_device_shows_in_the_registry(registry) -> None:
    await registry.add("truck-1")
    assert (await registry.service.device(thing("truck-1"))).device.last_seen_at is None
    async with registry.operator.unscoped(reason="a test plays ingest and broker") as tx:
        await tx.execute("INSERT INTO device_state (tenant_id, device_id, last_seen_at, ledger) "
                         "VALUES ('acme', 'truck-1', %s, '')", (registry.clock(),))  # fmt: skip
        await tx.execute("INSERT INTO presence (tenant_id, device_id, online, since, session, version) "
                         "VALUES ('acme', 'truck-1', true, now(), 's', 1)")  # fmt: skip
    device = (await registry.service.device(thing("truck-1"))).device
    assert device.last_seen_at == registry.clock()
    assert device.is_online


async def test_expiring_certificates_are_counted(registry) -> None:
    await registry.add("truck-1")
    with structlog.testing.capture_logs() as logs:
        await registry.service.sweep()
        registry.clock.advance(timedelta(days=340))
        await registry.service.sweep()
    assert [entry["count"] for entry in logs if entry["event"] == "provisioning.certificates_expiring"] == [1]


async def test_no_key_reaches_the_logs_or_the_database(registry, capfd) -> None:
    with structlog.testing.capture_logs() as logs:
        await registry.add("truck-1")
        await registry.service.renew(thing("truck-1"), keep=registry.kept.append)
        await registry.service.suspend(thing("truck-1"))
        await registry.service.resume(thing("truck-1"))
        await registry.service.revoke_device(thing("truck-1"))
        await registry.service.sweep()
    with psycopg.connect(registry.urls.owner) as owner:
        stored = [
            str(owner.execute(f"SELECT * FROM {table}").fetchall())
            for table in ("tenant", "device", "certificate", "outbox")
        ]
    said = "".join((str(logs), *stored, *capfd.readouterr()))
    assert "provisioning.devices_added" in said
    for issued in registry.kept:
        body = issued.key_pem.decode().splitlines()[1]
        assert len(body) > 40
        assert body not in said
    assert "PRIVATE" not in said


async def test_devices_are_issued_beside_the_event_loop(registry) -> None:
    threads = set()
    await registry.service.add_devices(
        ACME, [new_device("truck-1")], keep=lambda _issued: threads.add(threading.current_thread())
    )
    assert threads
    assert threading.main_thread() not in threads


async def test_status_in_the_database_is_one_of_the_models(registry) -> None:
    with psycopg.connect(registry.urls.owner) as owner:
        for table, enumeration in (("device", DeviceStatus), ("certificate", CertificateStatus)):
            checks = str(
                owner.execute(
                    "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass", (table,)
                ).fetchall()
            )
            assert all(f"'{member.value}'" in checks for member in enumeration)
