"""What the writer refuses: each once, with its reason and its bytes, and to nobody else's harm."""

import asyncio
import json
import random
from datetime import timedelta
from typing import Any

import pytest

from core import topics
from ingest.gate import LETTERS_PER_MINUTE
from tests.faults import until
from tests.ingest.feed import minutes_ago, register, sample
from tests.ingest.writer import Writer, counted, execute, letters, names, query

pytestmark = pytest.mark.db

TRUCK, VAN = "acme:truck-1", "acme:van-1"


class TestQuarantine:
    async def test_an_exact_repeat_is_no_reuse_and_another_content_is(self, database):
        register(database, TRUCK)
        at = minutes_ago(10)
        async with Writer(database) as writer:
            for _ in range(3):
                writer.offer(TRUCK, sample(at, 1))
                await writer.settled()
            assert letters(database) == []
            writer.offer(TRUCK, sample(at + timedelta(seconds=5), 1))
            await writer.settled()
            writer.offer(TRUCK, sample(at - timedelta(seconds=5), 1))
            await writer.settled()
        assert [reason for _, reason, _ in letters(database)] == ["seq_reused", "seq_reused"]
        assert names(database) == [("truck-1", "b1", 1)]

    @pytest.mark.parametrize("is_one_batch", [True, False])
    async def test_another_place_under_the_very_same_name_and_time_is_a_reuse_too(self, database, is_one_batch):
        register(database, TRUCK)
        at = minutes_ago(10)
        async with Writer(database) as writer:
            writer.offer(TRUCK, sample(at, 1, lat=47.0))
            if not is_one_batch:
                await writer.settled()
            writer.offer(TRUCK, sample(at, 1, lat=47.1))
            await writer.settled()
        assert [reason for _, reason, _ in letters(database)] == ["seq_reused"]
        assert query(database, "SELECT lat FROM telemetry.position") == [(47.0,)]

    async def test_a_recording_under_another_name_is_a_replay(self, database):
        register(database, TRUCK)
        track = [sample(minutes_ago(30) + timedelta(seconds=n), n, lat=47.0 + n * 1e-4) for n in range(20)]
        async with Writer(database) as writer:
            for each in track:
                writer.offer(TRUCK, each)
            await writer.settled()
            for each in track:
                writer.offer(TRUCK, each | {"boot": "forged"})
            await writer.settled()
        assert {reason for _, reason, _ in letters(database)} == {"identical_replay"}
        assert len(letters(database)) == 20
        assert len(names(database)) == 20

    async def test_a_quarantined_sample_sent_again_makes_no_second_letter(self, database):
        register(database, TRUCK)
        jump = sample(minutes_ago(9), 2, lat=50.0)
        async with Writer(database) as writer:
            writer.offer(TRUCK, sample(minutes_ago(9.1), 1))
            await writer.settled()
            writer.offer(TRUCK, jump)
            writer.offer(TRUCK, jump)  # in the same batch
            await writer.settled()
            writer.offer(TRUCK, jump)
            writer.offer(TRUCK, jump, is_redelivery=True)
            await writer.settled()
        assert [reason for _, reason, _ in letters(database)] == ["implied_speed"]
        assert names(database) == [("truck-1", "b1", 1)]

    async def test_a_refused_message_and_its_redelivery_in_one_batch_make_one_letter(self, database):
        register(database, TRUCK)
        async with Writer(database) as writer:
            writer.offer(TRUCK, b"{broken")
            writer.offer(TRUCK, b"{broken", is_redelivery=True)
            await writer.settled()
        assert [payload for _, _, payload in letters(database)] == [b"{broken"]


class TestPoison:
    def poisons(self, ts: int) -> list[tuple[str, bytes, str]]:
        """Topic, payload and the reason it is to be refused for; no two payloads are alike."""
        to = topics.telemetry(TRUCK)

        def one(**fields: Any) -> bytes:
            return json.dumps({"ts": ts, **fields}).encode()

        return [
            (to, b'{"ts":', "malformed"),
            (to, b"\xff\xfe{}", "malformed"),
            (to, b'{"ts":%d,"pos":{"lat":NaN,"lon":9}}' % ts, "malformed"),
            (to, b"", "empty"),
            (to, b"[]", "empty"),
            (to, b"[" * 100_000, "too_deep"),
            (to, one(m={"big": "x" * 140_000}), "too_large"),
            (to, json.dumps([{"ts": ts + n} for n in range(1001)]).encode(), "too_many_samples"),
            (to, one(m={"text": "a\0b"}), "bad_text"),
            (to, b'{"ts":%d,"m":{"a\0b":1}}' % ts, "malformed"),
            (to, one(pos={"lat": "47", "lon": 9}), "bad_type"),
            (to, one(pos=[47, 9]), "bad_type"),
            (to, one(pos={"lat": 1e999, "lon": 9}).replace(b"Infinity", b"1e999"), "out_of_range"),
            (to, one(seq=-1), "out_of_range"),
            (to, one(pos={"lat": 0, "lon": 0}), "null_island"),
            (to, one(pos={"lat": 47}), "missing_field"),
            (to, b'{"pos":{"lat":47,"lon":9}}', "missing_ts"),
            (to, one(m={"1x": 1}), "bad_name"),
            (to, one(m={f"n{n}": n for n in range(65)}), "too_many_metrics"),
            (to, one(nested={"a": 1}), "unknown_field"),
            (to, json.dumps({"ts": ts - 8 * 86_400_000}).encode(), "too_old"),
            (to, json.dumps({"ts": ts + 3_600_000}).encode(), "in_future"),
            ("dt/milkrun/acme:truck-1/telemetry/parquet", one(m={"a": 1}), "bad_topic"),
            ("dt/milkrun/acme/telemetry", one(m={"a": 2}), "bad_topic"),
            ("dt/milkrun/ACME:truck/telemetry", one(m={"a": 3}), "bad_topic"),
            (topics.telemetry("acme:nobody"), one(m={"a": 4}), "unknown_thing"),
            (topics.telemetry("nowhere:truck-1"), one(m={"a": 5}), "unknown_thing"),
            (topics.telemetry("acme:suspended"), one(m={"a": 6}), "inactive_thing"),
            (topics.event(TRUCK), one(type=""), "bad_text"),
            (topics.event(TRUCK), one(type="x", data={"a": "b\0c"}), "bad_text"),
            (topics.event(TRUCK), one(), "bad_type"),
            # Only the database refuses these, by a rule this test gives it.
            (to, one(pos={"lat": 66.6, "lon": 9.0}, boot="row", seq=1), "poison_row"),
            (to, one(m={"poison": -666}, boot="row", seq=2), "poison_row"),
        ]

    async def test_the_clean_rest_lands_and_each_poison_is_one_letter_byte_for_byte(self, database):
        register(database, TRUCK, VAN, "acme:suspended")
        execute(database, "UPDATE device SET status = 'suspended' WHERE device_id = 'suspended'")
        at = minutes_ago(30)
        execute(database, "ALTER TABLE telemetry.position ADD CHECK (lat <> 66.6)")
        execute(database, "ALTER TABLE telemetry.metric ADD CHECK (value <> -666)")
        poisons = self.poisons(int(at.timestamp() * 1000))
        clean = [(VAN, sample(at + timedelta(milliseconds=100 * n), n, m={"n": n})) for n in range(99 * len(poisons))]
        mixed: list[tuple[str, Any]] = [*clean, *((to, payload) for to, payload, _ in poisons)]
        random.Random(1).shuffle(mixed)
        before = counted()
        async with Writer(database, batch_rows=500) as writer:
            for to, payload in mixed:
                writer.offer(to, payload)
            await writer.settled()
        assert writer.acknowledged == list(range(1, len(mixed) + 1))
        assert names(database) == [("van-1", "b1", n) for n in range(len(clean))]
        assert query(database, "SELECT count(*) FROM telemetry.metric") == [(len(clean),)]
        kept = sorted((payload, reason) for _, reason, payload in letters(database))
        assert kept == sorted((payload, reason) for _, payload, reason in poisons)
        assert {to for to, _, _ in letters(database)} == {to for to, _, _ in poisons}
        gained = {name: value - before.get(name, 0) for name, value in counted().items()}
        expected: dict[str, int] = {}
        for _, _, reason in poisons:
            expected[reason] = expected.get(reason, 0) + 1
        assert {name: count for name, count in gained.items() if count and not name.startswith("retry")} == {
            **expected,
            "messages": len(mixed),
            "stored": len(clean),
            "metric_row": len(clean),
        }

    async def test_of_an_array_only_the_row_that_the_database_refuses_is_kept_back(self, database):
        register(database, TRUCK)
        at = minutes_ago(30)
        execute(database, "ALTER TABLE telemetry.position ADD CHECK (lat <> 47.0004)")
        samples = [sample(at + timedelta(seconds=n), n, lat=47.0 + n / 10_000) for n in range(9)]
        async with Writer(database) as writer:
            writer.offer(TRUCK, json.dumps([*samples, {"ts": 1}]).encode())
            await writer.settled()
        assert writer.acknowledged == [1]
        assert [seq for _, _, seq in names(database)] == [0, 1, 2, 3, 5, 6, 7, 8]
        kept = {reason: json.loads(payload) for _, reason, payload in letters(database)}
        assert kept.pop("poison_row")["seq"] == 4
        assert list(kept.values()) == [{"ts": 1}]

    async def test_letters_say_whose_they_are(self, database):
        register(database, TRUCK)
        async with Writer(database) as writer:
            for thing in (TRUCK, "acme:nobody", "nowhere:truck-1"):
                writer.offer(thing, b"{")
            writer.offer("dt/milkrun/nonsense", b"{")
            await writer.settled()
        found = query(database, "SELECT tenant_id, thing, reason FROM dead_letter ORDER BY id")
        assert found == [
            ("acme", TRUCK, "malformed"),
            ("acme", "acme:nobody", "unknown_thing"),
            ("!", "nowhere:truck-1", "unknown_thing"),
            ("!", None, "bad_topic"),
        ]

    async def test_in_an_array_a_bad_sample_costs_itself_alone(self, database):
        register(database, TRUCK)
        array = [sample(minutes_ago(20) + timedelta(seconds=n), n, lat=91.0 if n == 3 else 47.0) for n in range(10)]
        async with Writer(database) as writer:
            writer.offer(TRUCK, array)
            await writer.settled()
        assert [seq for _, _, seq in names(database)] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        [(_, reason, payload)] = letters(database)
        kept = json.loads(payload)
        kept["pos"] = {name: value for name, value in kept["pos"].items() if value is not None}
        assert reason == "out_of_range"
        assert {name: value for name, value in kept.items() if value is not None} == array[3]
        assert writer.told[TRUCK] == [{"boot": "b1", "seq": 9, "from": 0}]

    @pytest.mark.usefixtures("native")
    async def test_a_day_without_a_partition_is_made_on_the_way(self, database):
        register(database, TRUCK)
        at = minutes_ago(3 * 24 * 60)
        for table in ("position", "metric"):
            execute(database, f"DROP TABLE telemetry.{table}_{at:%Y%m%d}")
        async with Writer(database) as writer:
            writer.offer(TRUCK, sample(at, 1, m={"x": 1}))
            writer.offer(TRUCK, sample(minutes_ago(1), 2))
            await writer.settled()
        assert len(names(database)) == 2
        assert letters(database) == []


class TestThrottle:
    async def test_over_the_limit_is_counted_lettered_up_to_a_bound_and_never_confirmed_beyond_it(self, database):
        register(database, TRUCK, VAN)
        before = counted()
        burst, flood = 100, LETTERS_PER_MINUTE + 500
        async with Writer(database, device_rate=0.001, device_burst=burst) as writer:
            for n in range(burst + flood):
                writer.offer(TRUCK, sample(minutes_ago(100) + timedelta(seconds=n), n))
            writer.offer(VAN, sample(minutes_ago(1), 1))
            await writer.settled()
        gained = {name: value - before.get(name, 0) for name, value in counted().items()}
        kept = [payload for _, reason, payload in letters(database) if reason == "throttled_device"]
        stored = [seq for device, _, seq in names(database) if device == "truck-1"]
        assert stored == list(range(burst))
        assert LETTERS_PER_MINUTE <= len(kept) <= LETTERS_PER_MINUTE + 100  # more with each tenth of a second
        assert gained["throttled_device"] == len(kept)
        assert gained["shed throttled_device"] == flood - len(kept)
        assert len(writer.acknowledged) == burst + flood + 1
        settled = {json.loads(payload)["seq"] for payload in kept} | set(stored)
        for each in writer.told[TRUCK]:
            assert set(range(each["from"], each["seq"] + 1)) <= settled
        assert names(database)[-1] == ("van-1", "b1", 1)

    async def test_a_tenants_limit_holds_over_all_its_devices_and_for_nobody_else(self, database):
        register(database, TRUCK, VAN, "beta:truck-1")
        async with Writer(database, tenant_rate=0.001, tenant_burst=50) as writer:
            for n in range(40):
                for thing in (TRUCK, VAN):
                    writer.offer(thing, sample(minutes_ago(100) + timedelta(seconds=n), n))
            for n in range(40):
                writer.offer("beta:truck-1", sample(minutes_ago(100) + timedelta(seconds=n), n))
            await writer.settled()
        rows = query(database, "SELECT tenant_id, count(*) FROM telemetry.position GROUP BY 1 ORDER BY 1")
        assert rows == [("acme", 50), ("beta", 40)]
        assert [reason for _, reason, _ in letters(database)] == ["throttled_tenant"] * 30


class TestRegistry:
    async def test_a_device_suspended_while_known_is_refused_and_taken_again_when_resumed(self, database):
        register(database, TRUCK)
        async with Writer(database, registry_refresh_s=0.05) as writer:
            following = asyncio.create_task(writer.service.follow_registry())
            seq = 0

            async def send() -> str:
                nonlocal seq
                seq += 1
                stored = len(names(database))
                writer.offer(TRUCK, sample(minutes_ago(5) + timedelta(seconds=seq), seq))
                await writer.settled()
                return "stored" if len(names(database)) > stored else letters(database)[-1][1]

            async def becomes(answer: str) -> bool:
                return await send() == answer

            assert await send() == "stored"
            # No third answer: a change between receipt and commit must not lose what is on its way.
            for status, answer in (("suspended", "inactive_thing"), ("active", "stored")) * 5:
                execute(database, f"UPDATE device SET status = '{status}', updated_at = now()")
                await until(lambda answer=answer: becomes(answer))
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
