from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Invalid
from core.events import CertificateIssued, CertificateRevoked, DeviceRegistered, DeviceStatusChanged
from core.tenancy import InvalidName
from provisioning import model
from provisioning.errors import CertificateNotFound, InvalidDevice, MoveNotAllowed
from provisioning.model import MOVES, Certificate, CertificateStatus, DeviceStatus, Enrolment, Reason, new_device
from tests.provisioning.conftest import ACME

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
WEEK = timedelta(days=7)


def certificate(number: int, at: datetime = NOW) -> Certificate:
    return Certificate(f"{number:032x}", "f" * 64, CertificateStatus.ACTIVE, at, at + YEAR, at)


def in_service(*numbers: int) -> Enrolment:
    """A device in service whose last certificate is the last of `numbers`; the others are in their overlap."""
    enrolment, _ = model.register(ACME, new_device("truck-1"), NOW)
    for number in numbers:
        enrolment, _ = model.issue(enrolment, certificate(number), NOW, WEEK)
    return model.activate(enrolment, NOW)[0]


def at_status(status: DeviceStatus) -> Enrolment:
    enrolment = in_service(1)
    return replace(enrolment, device=replace(enrolment.device, status=status))


def statuses(enrolment: Enrolment) -> dict[int, str]:
    return {int(c.serial, 16): c.status.value for c in enrolment.certificates}


def test_a_new_device_is_pending_and_says_so_by_its_registration() -> None:
    enrolment, news = model.register(ACME, new_device("truck-1", "gps", {"depot": "north"}), NOW)
    assert enrolment.device.status is DeviceStatus.PENDING
    assert news == [DeviceRegistered(thing="acme:truck-1", type="gps")]


@pytest.mark.parametrize("status", DeviceStatus)
@pytest.mark.parametrize(
    ("use_case", "to"),
    [
        (model.activate, DeviceStatus.ACTIVE),
        (model.suspend, DeviceStatus.SUSPENDED),
        (model.decommission, DeviceStatus.DECOMMISSIONED),
    ],
)
def test_every_move_that_is_not_in_the_table_is_refused(status, use_case, to) -> None:
    before = at_status(status)
    if to in MOVES[status]:
        assert use_case(before, NOW)[0].device.status is to
    else:
        with pytest.raises(MoveNotAllowed, match=f"acme:truck-1 is {status}"):
            use_case(before, NOW)


def test_nothing_follows_a_decommissioning() -> None:
    assert MOVES[DeviceStatus.DECOMMISSIONED] == frozenset()
    gone, news = model.decommission(in_service(1, 2), NOW)
    assert statuses(gone) == {1: "revoked", 2: "revoked"}
    assert {c.reason for c in gone.certificates} == {Reason.CESSATION_OF_OPERATION}
    assert sorted(type(n).__name__ for n in news) == ["CertificateRevoked", "CertificateRevoked", "DeviceStatusChanged"]
    with pytest.raises(MoveNotAllowed, match="pending or active device only"):
        model.issue(gone, certificate(3), NOW, WEEK)


def test_the_table_names_every_state() -> None:
    assert set(MOVES) == set(DeviceStatus)


def test_a_pending_device_without_a_certificate_that_works_is_not_put_into_service() -> None:
    bare, _ = model.register(ACME, new_device("truck-1"), NOW)
    with pytest.raises(MoveNotAllowed, match="issue one first"):
        model.activate(bare, NOW)
    expired, _ = model.issue(bare, certificate(1), NOW, WEEK)
    with pytest.raises(MoveNotAllowed, match="issue one first"):
        model.activate(expired, NOW + YEAR + timedelta(seconds=1))


def test_a_renewal_leaves_the_old_certificate_its_overlap_and_then_ends_it() -> None:
    renewed, news = model.issue(in_service(1), certificate(2), NOW, WEEK)
    assert statuses(renewed) == {1: "superseded", 2: "active"}
    assert news == [
        CertificateIssued(thing="acme:truck-1", serial=f"{2:032x}", not_after=int((NOW + YEAR).timestamp() * 1000))
    ]
    early, none = model.end_overlaps(renewed, NOW + WEEK - timedelta(seconds=1))
    assert early == renewed
    assert none == []
    over, news = model.end_overlaps(renewed, NOW + WEEK)
    assert statuses(over) == {1: "revoked", 2: "active"}
    assert over.device.status is DeviceStatus.ACTIVE
    assert news == [CertificateRevoked(thing="acme:truck-1", serial=f"{1:032x}", reason="superseded")]


def test_a_renewal_without_overlap_ends_the_old_certificate_at_once() -> None:
    renewed, news = model.issue(in_service(1), certificate(2), NOW, timedelta(0))
    assert statuses(renewed) == {1: "revoked", 2: "active"}
    assert renewed.device.status is DeviceStatus.ACTIVE
    assert [type(n) for n in news] == [CertificateIssued, CertificateRevoked]


def test_an_overlap_never_outlives_the_certificate() -> None:
    renewed, _ = model.issue(in_service(1), certificate(2), NOW, 2 * YEAR)
    old = next(c for c in renewed.certificates if c.status is CertificateStatus.SUPERSEDED)
    assert old.overlap_ends_at == old.not_after


def test_a_suspension_holds_what_is_live_and_resuming_brings_back_just_that() -> None:
    before, _ = model.revoke_certificate(in_service(1, 2, 3), f"{1:032x}", Reason.KEY_COMPROMISE, NOW)
    held, news = model.suspend(before, NOW)
    assert statuses(held) == {1: "revoked", 2: "held", 3: "held"}
    assert news == [DeviceStatusChanged(thing="acme:truck-1", status="suspended")]
    bar, free = model.list_changes(before, held)
    assert {b.serial: b.reason for b in bar} == {f"{n:032x}": Reason.CERTIFICATE_HOLD for n in (2, 3)}
    assert free == set()
    resumed, news = model.resume(held, NOW + timedelta(days=1))
    assert statuses(resumed) == {1: "revoked", 2: "superseded", 3: "active"}
    assert news == [DeviceStatusChanged(thing="acme:truck-1", status="active")]
    bar, free = model.list_changes(held, resumed)
    assert bar == []
    assert free == {f"{n:032x}" for n in (2, 3)}


def test_an_overlap_that_ran_out_during_a_suspension_does_not_come_back() -> None:
    held, _ = model.suspend(in_service(1, 2), NOW)
    resumed, _ = model.resume(held, NOW + WEEK)
    assert statuses(resumed) == {1: "revoked", 2: "active"}


def test_a_device_resumed_without_a_certificate_that_works_is_pending() -> None:
    held, _ = model.suspend(in_service(1), NOW)
    revoked, _ = model.revoke_device(held, Reason.KEY_COMPROMISE, NOW)
    assert revoked.device.status is DeviceStatus.SUSPENDED
    assert model.resume(revoked, NOW)[0].device.status is DeviceStatus.PENDING
    assert model.resume(held, NOW + YEAR)[0].device.status is DeviceStatus.PENDING


def test_only_a_suspended_device_is_resumed() -> None:
    with pytest.raises(MoveNotAllowed, match="only a suspended device"):
        model.resume(in_service(1), NOW)


def test_revoking_a_device_ends_every_certificate_and_leaves_it_waiting_for_a_new_one() -> None:
    after, news = model.revoke_device(in_service(1, 2), Reason.KEY_COMPROMISE, NOW)
    assert statuses(after) == {1: "revoked", 2: "revoked"}
    assert after.device.status is DeviceStatus.PENDING
    assert news[-1] == DeviceStatusChanged(thing="acme:truck-1", status="pending")
    assert model.revoke_device(after, Reason.UNSPECIFIED, NOW) == (after, [])


def test_revoking_one_certificate_leaves_the_device_its_others() -> None:
    after, news = model.revoke_certificate(in_service(1, 2), "2", Reason.SUPERSEDED, NOW)
    assert statuses(after) == {1: "superseded", 2: "revoked"}
    assert after.device.status is DeviceStatus.ACTIVE
    assert news == [CertificateRevoked(thing="acme:truck-1", serial=f"{2:032x}", reason="superseded")]


def test_a_serial_may_be_written_as_openssl_prints_it() -> None:
    enrolment = in_service(0xAB12)
    assert statuses(model.revoke_certificate(enrolment, "AB:12", Reason.UNSPECIFIED, NOW)[0]) == {0xAB12: "revoked"}
    with pytest.raises(CertificateNotFound):
        model.revoke_certificate(enrolment, "ab13", Reason.UNSPECIFIED, NOW)


def test_a_hold_is_no_revocation() -> None:
    with pytest.raises(Invalid, match="suspend the device"):
        model.revoke_device(in_service(1), Reason.CERTIFICATE_HOLD, NOW)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "+", "#", "a:b", "é", "x" * 65, "truck\n", "a\x00"])
def test_a_device_name_outside_the_rule_is_refused(name) -> None:
    with pytest.raises(InvalidName, match="1 to 64 characters"):
        new_device(name)


@pytest.mark.parametrize(
    ("type_", "labels"),
    [
        ("", {}),
        ("a b", {}),
        ("t" * 65, {}),
        ("t", {"": "x"}),
        ("t", {"a b": "x"}),
        ("t", {"k": ""}),
        ("t", {"k": "a\x00b"}),
        ("t", {"k": "v" * 257}),
        ("t", {f"k{n}": "v" for n in range(33)}),
    ],
)
def test_a_type_or_label_outside_the_rule_is_refused(type_, labels) -> None:
    with pytest.raises(InvalidDevice):
        new_device("truck-1", type_, labels)


def test_a_series_counts_with_five_digits_and_keeps_to_the_naming_rule() -> None:
    assert [d.device for d in model.series(new_device("truck-17"), 2)] == ["truck-17-00001", "truck-17-00002"]
    with pytest.raises(InvalidName):
        model.series(new_device("t" * 60), 2)
    for count in (0, -1, 100_001):
        with pytest.raises(InvalidDevice, match="1 to 100000"):
            model.series(new_device("t"), count)


@pytest.mark.parametrize("pairs", [["depot"], ["a=1", "a=2"]])
def test_labels_are_pairs_each_given_once(pairs) -> None:
    with pytest.raises(InvalidDevice):
        model.labels_of(pairs)
