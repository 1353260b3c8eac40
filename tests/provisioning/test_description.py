"""What a person may change of a device and a tenant: type, labels, name, retention; each for the version he saw."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.db import TenantTx
from core.events import DeviceDescribed
from provisioning import model
from provisioning.errors import InvalidDevice, InvalidTenant, MoveNotAllowed, TenantNotFound, VersionMoved
from provisioning.model import DeviceStatus, Enrolment, Tenant, new_device
from tests.provisioning.conftest import ACME, Registry, TenantId, thing

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def registered() -> Enrolment:
    return model.register(ACME, new_device("truck-1", "van", {"depot": "north"}), NOW)[0]


def test_a_new_description_is_a_new_version_and_is_announced_whole() -> None:
    after, news = model.describe(registered(), "tanker", None, LATER)
    device = after.device
    assert (device.type, device.labels, device.version, device.updated_at) == ("tanker", {"depot": "north"}, 2, LATER)
    assert news == [DeviceDescribed(thing="acme:truck-1", type="tanker", labels={"depot": "north"})]
    after, _ = model.describe(after, None, {}, LATER)
    assert (after.device.type, after.device.labels) == ("tanker", {})


def test_what_is_described_as_it_was_stays_as_it_was() -> None:
    before = registered()
    assert model.describe(before, "van", {"depot": "north"}, LATER) == (before, [])
    assert model.describe(before, None, None, LATER, expected=1) == (before, [])


def test_a_description_for_another_version_that_cannot_be_or_comes_too_late_is_refused() -> None:
    with pytest.raises(VersionMoved, match="version 1 now, not at 2"):
        model.describe(registered(), "tanker", None, LATER, expected=2)
    for labels in ({"": "x"}, {"k": "a\nb"}, {f"k{n}": "v" for n in range(33)}):
        with pytest.raises(InvalidDevice):
            model.describe(registered(), None, labels, LATER)
    gone = registered()
    gone = replace(gone, device=replace(gone.device, status=DeviceStatus.DECOMMISSIONED))
    with pytest.raises(MoveNotAllowed):
        model.describe(gone, "tanker", None, LATER)


@pytest.mark.parametrize(("name", "days"), [("", None), ("x" * 201, None), ("a\tb", None), ("ok", 0), ("ok", 36_501)])
def test_a_tenant_that_cannot_be_is_refused(name: str, days: int | None) -> None:
    with pytest.raises(InvalidTenant):
        model.new_tenant(ACME, name, days, NOW)


@pytest.mark.db
async def test_a_change_its_news_and_its_witness_share_a_transaction(registry: Registry) -> None:
    await registry.add("truck-1")
    seen: list[tuple[int, int]] = []

    async def witness(tx: TenantTx, before: Enrolment | None, after: Enrolment) -> None:
        assert tx.tenant == ACME
        assert before is not None
        seen.append((before.device.version, after.device.version))

    async def refuse(_tx: TenantTx, _before: Enrolment | None, _after: Enrolment) -> None:
        raise RuntimeError("the audit log is full")

    told = len(await registry.news())
    with pytest.raises(RuntimeError):
        await registry.service.describe(thing("truck-1"), type_="tanker", witness=refuse)
    assert len(await registry.news()) == told
    await registry.service.describe(thing("truck-1"), type_="tanker", labels={"depot": "n"}, witness=witness)
    await registry.service.describe(thing("truck-1"), type_="tanker", witness=witness)
    assert seen == [(2, 3)]
    found = (await registry.service.device(thing("truck-1"))).device
    assert (found.type, found.labels, found.version) == ("tanker", {"depot": "n"}, 3)
    news = (await registry.news())[told:]
    assert news == [DeviceDescribed(thing="acme:truck-1", type="tanker", labels={"depot": "n"})]


@pytest.mark.db
async def test_a_tenant_changes_its_name_and_retention_for_the_version_that_was_seen(registry: Registry) -> None:
    seen: list[tuple[Tenant | None, Tenant]] = []

    async def witness(_tx: object, before: Tenant | None, after: Tenant) -> None:
        seen.append((before, after))

    service = registry.service
    after = await service.change_tenant(
        ACME, lambda t: replace(t, name="Acme Dairy", retention_days=30), expected=1, witness=witness
    )
    assert (after.name, after.retention_days, after.version) == ("Acme Dairy", 30, 2)
    assert await service.tenant(ACME) == after
    with pytest.raises(VersionMoved):
        await service.change_tenant(ACME, lambda t: replace(t, name="x"), expected=1)
    assert await service.change_tenant(ACME, lambda t: t, witness=witness) == after
    assert [(b and b.version, a.version) for b, a in seen] == [(1, 2)]
    with pytest.raises(TenantNotFound):
        await service.change_tenant(TenantId("nowhere"), lambda t: t)


@pytest.mark.db
async def test_tenants_come_in_pages_by_name(registry: Registry) -> None:
    assert [t.tenant for t in await registry.service.tenants(limit=1)] == ["acme"]
    assert [t.tenant for t in await registry.service.tenants(after="acme", limit=5)] == ["beta"]
