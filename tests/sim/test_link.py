"""What a device link promises, against a real Mosquitto with our configuration and mTLS."""

import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cli.stack.process import free_port
from sim.link import Latencies, Names
from tests.broker.brokers import Fleet, MosquittoRunner
from tests.sim.platform import Platform, linked, sample, until


@pytest.fixture
def mosquitto(mosquitto_path: Path, tmp_path: Path) -> Iterator[MosquittoRunner]:
    with tempfile.TemporaryDirectory(prefix="milkrun-broker-") as folder:
        runner = MosquittoRunner(Fleet(tmp_path, free_port(), free_port()), Path(folder) / "broker")
        runner.start()
        yield runner
        runner.stop()


@pytest.fixture
async def platform(mosquitto: MosquittoRunner) -> AsyncIterator[Platform]:
    platform = Platform()
    await platform.open(mosquitto.fleet)
    yield platform
    await platform.close()


async def test_a_sample_stays_on_the_device_until_its_durable_acknowledgement(mosquitto, platform, tmp_path) -> None:
    async with linked(mosquitto, tmp_path / "device") as link:
        for seq in (1, 2, 3):
            link.submit([sample(seq)])
        await until(lambda: sorted(platform.seqs) == [1, 2, 3] and not [*link.held_back()])
        assert link.waiting == 3  # the broker has them, and that is not enough
        await platform.confirm("b1", 1, 2)
        await until(lambda: link.waiting == 1)
        await platform.confirm("b1", 1, 3)
        await link.settled()
        assert link.counts.durable == 3
        assert link.counts.latencies.quantile_s(0.99) is not None


async def test_an_acknowledgement_covers_its_own_boot_and_run_alone(mosquitto, platform, tmp_path) -> None:
    async with linked(mosquitto, tmp_path / "device") as link:
        link.submit([sample(7), sample(8), sample(7, boot="b2")])
        await until(lambda: len(platform.seqs) == 3)
        await platform.confirm("b3", 1, 100)
        await platform.confirm("b1", 8, 100)
        await until(lambda: link.waiting == 2)
        await platform.confirm("b2", 1, 7)
        await until(lambda: link.waiting == 1)
        await platform.confirm("b1", 1, 6)
        await platform.confirm("b1", 7, 7)
        await link.settled()


async def test_what_is_not_durable_is_sent_again_in_batches_after_a_dead_broker(mosquitto, platform, tmp_path) -> None:
    async with linked(mosquitto, tmp_path / "device", batch_limit=4) as link:
        link.submit([sample(1)])
        link.submit([sample(2)])
        await until(lambda: sorted(platform.seqs) == [1, 2])
        await platform.confirm("b1", 1, 1)
        await until(lambda: link.waiting == 1)
        mosquitto.stop(signal.SIGKILL)
        await until(lambda: not link.is_connected)
        for seq in range(3, 11):
            link.submit([sample(seq)])
        await until(lambda: link.counts.failures > 2)
        mosquitto.start()
        platform.messages.clear()
        await platform.open(mosquitto.fleet)
        await until(lambda: sorted({*platform.seqs}) == list(range(2, 11)))
        assert max(map(len, platform.messages)) == 4
        await platform.confirm("b1", 1, 10)
        await link.settled()
        assert link.counts.durable == 10
        assert link.counts.resent >= 1
        assert not [*link.held_back()]


async def test_an_acknowledgement_that_never_came_is_asked_for_by_sending_again(mosquitto, platform, tmp_path) -> None:
    async with linked(mosquitto, tmp_path / "device", resend_after_s=0.2) as link:
        link.submit([sample(1)])
        await until(lambda: platform.seqs.count(1) >= 3)
        await platform.confirm("b1", 1, 1)
        await link.settled()
        assert link.counts.durable == 1
        assert link.counts.sent == 1 + link.counts.resent


async def test_a_full_buffer_gives_up_its_oldest_and_says_which(mosquitto, platform, tmp_path) -> None:
    mosquitto.stop()
    async with linked(mosquitto, tmp_path / "device", buffer_limit=3) as link:
        for seq in range(1, 6):
            link.submit([sample(seq)])
        assert link.waiting == 3
        assert link.counts.dropped == 2
        assert [*link.given_up()] == [("b1", 1), ("b1", 2)]
        mosquitto.start()
        platform.messages.clear()
        await platform.open(mosquitto.fleet)
        await until(lambda: {*platform.seqs} == {1, 2, 3, 4, 5})
        bare = {s["seq"] for message in platform.messages for s in message if "pos" not in s}
        assert bare == {1, 2}  # named, so that the run of seqs closes; empty, for nothing is left to say
        await platform.confirm("b1", 1, 5)
        await link.settled()
        await until(lambda: not [*link.given_up()])
        assert link.counts.durable == 3


async def test_a_sample_the_network_repeats_leaves_twice_and_is_held_once(mosquitto, platform, tmp_path) -> None:
    async with linked(mosquitto, tmp_path / "device") as link:
        await until(lambda: link.is_connected)
        link.submit([sample(1)])
        await until(lambda: platform.seqs == [1])
        await platform.confirm("b1", 1, 1)
        await link.settled()
        link.submit([sample(1)])
        await until(lambda: platform.seqs == [1, 1])
        assert link.waiting == 0
        assert len(link.taken) == 1


async def test_a_barred_device_keeps_its_samples_and_keeps_trying(mosquitto, platform, tmp_path) -> None:
    fleet = mosquitto.fleet
    async with linked(mosquitto, tmp_path / "device") as link:
        await until(lambda: link.is_connected)
        fleet.devices.bar(fleet.credentials(str(link.thing), fleet.devices))
        mosquitto.stop()
        mosquitto.start()
        link.submit([sample(1)])
        await until(lambda: link.counts.failures > 3)
        assert link.last_error is not None
        assert link.waiting == 1
        assert [*link.held_back()] == [("b1", 1)]


def test_names_hold_what_was_added_in_any_order() -> None:
    names = Names()
    for seq in (5, 3, 9, 4, 6, 3):
        names.add("b", seq)
    names.add("c", 1)
    assert sorted(names) == [("b", 3), ("b", 4), ("b", 5), ("b", 6), ("b", 9), ("c", 1)]
    assert len(names) == 6
    assert ("b", 4) in names
    assert ("b", 7) not in names
    assert ("d", 1) not in names


def test_latencies_are_kept_to_two_percent_and_add_up() -> None:
    low, high = Latencies(), Latencies()
    for ms in range(1, 100):
        low.note(ms / 1000)
    high.note(2.0)
    low.add(high)
    assert low.quantile_s(0.5) == pytest.approx(0.050, rel=0.02)
    assert low.quantile_s(1.0) == pytest.approx(2.0, rel=0.02)
    assert Latencies().quantile_s(0.5) is None
