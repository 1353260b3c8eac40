"""Rate limits by their formula, and what ingest remembers of the registry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.settings import IngestSettings
from core.tenancy import Thing
from ingest.gate import UNKNOWN_FOR_S, Limit, Registry

THING = Thing.parse("acme:truck-1")


@given(
    st.floats(0.01, 1000),
    st.integers(1, 200),
    st.lists(st.one_of(st.just(0.0), st.floats(0, 2)), min_size=1, max_size=300),
)
def test_never_more_than_the_burst_and_the_rate_since_in_any_stretch_of_time(rate, burst, pauses):
    limit, now, taken = Limit.of(rate, burst), 1000.0, []
    for pause in pauses:
        now += pause
        if limit.take(now):
            taken.append(now)
    for at, first in enumerate(taken):
        assert all(count <= burst + rate * (last - first) + 0.01 for count, last in enumerate(taken[at:], 1))


@given(st.floats(0.01, 1000), st.integers(1, 500))
def test_a_burst_passes_whole_and_then_the_rate(rate, burst):
    limit = Limit.of(rate, burst)
    assert [limit.take(1000.0) for _ in range(burst + 1)] == [True] * burst + [False]
    for n in range(1, 20):
        assert limit.take(1000.0 + n * 1.0001 / rate)
        assert not limit.take(1000.0 + n * 1.0001 / rate)


def test_a_refused_message_costs_no_credit():
    limit = Limit.of(1.0, 1)
    assert limit.take(0.0)
    assert not any(limit.take(0.5) for _ in range(100))
    assert limit.take(1.0)


def test_a_limit_without_a_rate_or_a_burst_is_refused():
    for rate, burst in ((0.0, 1), (1.0, 0)):
        with pytest.raises(Invalid, match="a limit needs"):
            Limit.of(rate, burst)


def test_a_stranger_is_remembered_for_seconds_and_a_device_until_told_otherwise():
    registry = Registry(IngestSettings())
    assert registry.get(str(THING), 0.0) is None
    stranger = registry.add(THING, status=None, has_tenant=False, partition=3, now_s=100.0)
    assert registry.get(str(THING), 100.0 + UNKNOWN_FOR_S) is stranger
    assert registry.get(str(THING), 100.1 + UNKNOWN_FOR_S) is None
    device = registry.add(THING, status="active", has_tenant=True, partition=3, now_s=200.0)
    assert device is stranger
    assert registry.get(str(THING), 1e9) is device
    registry.update(str(THING), "suspended")
    assert device.status == "suspended"
    registry.update("acme:never-heard-of", "active")
    assert "acme:never-heard-of" not in registry.things


def test_a_registration_ends_the_memory_of_a_stranger_without_a_tenant():
    registry = Registry(IngestSettings())
    registry.add(THING, status=None, has_tenant=False, partition=3, now_s=100.0)
    registry.update(str(THING), "active")
    assert registry.get(str(THING), 100.0) is None  # the store is asked, and finds its tenant too


def test_devices_of_a_tenant_share_its_limit():
    registry = Registry(IngestSettings())
    one, two = (
        registry.add(Thing.parse(f"acme:{name}"), status="active", has_tenant=True, partition=0, now_s=0.0)
        for name in ("a", "b")
    )
    assert one.tenant is two.tenant
    assert one.limit is not two.limit
