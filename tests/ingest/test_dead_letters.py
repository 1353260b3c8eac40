"""Dead letters through the pipeline again, and what the command line shows of them."""

import asyncio
import base64
import json
from datetime import timedelta

import msgspec
import psycopg
import pytest
from typer.testing import CliRunner

from cli.dead_letters import dead_letters_app
from core import events, topics
from core.bus import Entry
from core.db import Database
from core.errors import Invalid
from core.settings import DatabaseSettings, RedisSettings, Settings
from ingest.errors import NoSuchLetter, NotReplayable
from ingest.history.letters import Letter, Outcome, load, replay
from tests.conftest import DatabaseUrls
from tests.ingest.feed import feed, letters, minutes_ago, register, sample, stored

TRUCK = "acme:truck-1"
pytestmark = pytest.mark.db


async def test_a_letter_of_a_device_that_was_not_registered_is_stored_once_it_is(database: DatabaseUrls) -> None:
    register(database, "acme:other")
    await feed(database, (TRUCK, sample(minutes_ago(1), 1)))
    assert stored(database) == []
    [(letter, reason, _)] = letters(database)
    assert reason == "unknown_thing"
    register(database, TRUCK)
    [outcome] = await again(database, letter)
    assert (outcome.stored, outcome.present, outcome.refused) == (1, 0, ())
    assert stored(database) == [("truck-1", "b1", 1)]
    assert letters(database)[0][2] is not None


async def test_replaying_twice_stores_once(database: DatabaseUrls) -> None:
    letter = await a_late_believed_letter(database)
    first, second = await again(database, letter), await again(database, letter)
    assert (first[0].stored, first[0].present) == (1, 0)
    assert (second[0].stored, second[0].present) == (0, 1)
    assert stored(database).count(("truck-1", "b1", 2)) == 1


async def test_a_letter_refused_again_stays_as_it_is_and_makes_no_second_one(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    await feed(database, (TRUCK, {**sample(minutes_ago(1), 1), "pos": {"lat": 91.0, "lon": 9.0}}), (TRUCK, b"{no"))
    outcomes = await again(database, *(letter for letter, _, _ in letters(database)))
    assert [outcome.refused[0].reason for outcome in outcomes] == ["out_of_range", "malformed"]
    assert not any(outcome.is_settled for outcome in outcomes)
    assert [(reason, at) for _, reason, at in letters(database)] == [("out_of_range", None), ("malformed", None)]


async def test_of_a_letter_with_many_samples_the_good_ones_land(database: DatabaseUrls) -> None:
    register(database, "acme:other")
    good, bad = sample(minutes_ago(2), 1), {**sample(minutes_ago(1), 2), "pos": {"lat": 91.0, "lon": 9.0}}
    await feed(database, (TRUCK, [good, bad]))
    register(database, TRUCK)
    [outcome] = await again(database, letters(database)[0][0])
    assert outcome.stored == 1
    assert [verdict.reason for verdict in outcome.refused] == ["out_of_range"]
    assert len(letters(database)) == 1


async def test_a_seq_used_for_another_sample_is_refused_again(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    await feed(database, (TRUCK, sample(minutes_ago(2), 1)), (TRUCK, sample(minutes_ago(1), 1)))
    [(letter, reason, _)] = letters(database)
    assert reason == "seq_reused"
    [outcome] = await again(database, letter)
    assert [verdict.reason for verdict in outcome.refused] == ["seq_reused"]
    assert len(stored(database)) == 1


async def test_a_letter_is_judged_by_the_time_it_was_received(database: DatabaseUrls) -> None:
    register(database, "acme:other")
    long_ago = minutes_ago(12 * 24 * 60)
    await feed(database, (TRUCK, sample(long_ago, 1)), clock=long_ago + timedelta(minutes=1))
    register(database, TRUCK)
    [outcome] = await again(database, letters(database)[0][0])
    assert outcome.is_settled
    assert stored(database) == [("truck-1", "b1", 1)]


async def test_what_is_replayed_is_history_and_never_live(database: DatabaseUrls) -> None:
    register(database, "acme:other")
    await feed(database, (TRUCK, sample(minutes_ago(0), 1)))
    register(database, TRUCK)
    await again(database, letters(database)[0][0])
    with psycopg.connect(database.ingest) as conn:
        [(packed,)] = conn.execute("SELECT entries FROM outbox").fetchall()
    [entry] = msgspec.msgpack.decode(packed, type=list[Entry])
    told = events.decode(entry.body)
    assert isinstance(told, events.TelemetryReceived)
    assert [received.live for received in told.samples] == [False]


async def test_a_sample_refused_out_of_a_foreign_format_is_replayed_as_the_native_sample_it_is(
    database: DatabaseUrls,
) -> None:
    register(database, TRUCK)
    owntracks = topics.telemetry(TRUCK, topics.Format.OWNTRACKS)
    body = {"_type": "location", "lat": 47.0, "lon": 9.0, "tst": int(minutes_ago(10).timestamp())}
    part = json.dumps(sample(minutes_ago(1), 5)).encode()
    await feed(database, (owntracks, {**body, "lat": 95.0}), (owntracks, part))
    with psycopg.connect(database.operator) as conn:  # as if the second were the refused part of a larger message
        conn.execute("UPDATE dead_letter SET topic = %s WHERE payload = %s", (owntracks, part))
    outcomes = await again(database, *(letter for letter, _, _ in letters(database)))
    assert [outcome.stored for outcome in outcomes] == [0, 1]
    assert stored(database) == [("truck-1", "b1", 5)]


async def test_a_sign_of_life_sent_again_is_no_dead_letter(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    bare = {"ts": int(minutes_ago(1).timestamp() * 1000), "boot": "b1", "seq": 1}
    said = await feed(database, (TRUCK, bare), (TRUCK, bare))
    assert letters(database) == []
    assert said[TRUCK] == [{"boot": "b1", "seq": 1, "from": 1}] * 2


async def test_a_name_sent_in_place_of_a_sample_closes_the_run_of_seqs(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    now = minutes_ago(1)
    bare = {"ts": int(now.timestamp() * 1000), "boot": "b1", "seq": 2}
    said = await feed(database, (TRUCK, sample(now, 1)), (TRUCK, sample(now, 3)), (TRUCK, bare))
    assert said[TRUCK][-1] == {"boot": "b1", "seq": 3, "from": 1}


async def test_letters_that_are_not_there_or_not_a_devices_are_told_apart(database: DatabaseUrls) -> None:
    register(database, TRUCK)
    await feed(database, (TRUCK, b"{no"))
    with psycopg.connect(database.operator) as conn:
        conn.execute("UPDATE dead_letter SET source = 'telemetry'")
    with pytest.raises(NotReplayable, match="telemetry"):
        await again(database, letters(database)[0][0])
    with pytest.raises(NoSuchLetter, match="777"):
        await again(database, 777)


def test_the_command_line_lists_shows_and_replays(database: DatabaseUrls, tmp_path, monkeypatch) -> None:
    register(database, "acme:other", "brio:van")
    asyncio.run(feed(database, (TRUCK, sample(minutes_ago(1), 1)), ("brio:van", b"\xff\x00")))
    milkrun = command(database, tmp_path, monkeypatch)

    listed = json.loads(milkrun("list", "--json"))
    assert [(row["tenant"], row["reason"]) for row in listed] == [("brio", "malformed"), ("acme", "unknown_thing")]
    assert [row["tenant"] for row in json.loads(milkrun("list", "--json", "--tenant", "brio"))] == ["brio"]
    assert json.loads(milkrun("list", "--json", "--since", "2999-01-01")) == []
    assert len(json.loads(milkrun("list", "--json", "--limit", "1"))) == 1
    assert "unknown_thing" in milkrun("list", "--reason", "unknown_thing")

    binary = json.loads(milkrun("show", str(listed[0]["id"]), "--json"))
    assert base64.b64decode(binary["payload_base64"]) == b"\xff\x00"
    assert binary["text"] is None
    assert json.loads(json.loads(milkrun("show", str(listed[1]["id"]), "--json"))["text"])["seq"] == 1
    assert "unknown_thing" in milkrun("show", str(listed[1]["id"]))

    register(database, TRUCK)
    assert "stored 1" in milkrun("replay", "--reason", "unknown_thing")
    assert "nothing to replay" in milkrun("replay", "--reason", "unknown_thing")
    assert "refused again: malformed" in milkrun("replay", str(listed[0]["id"]), exit_code=1)
    with pytest.raises(Invalid, match="one of the two"):
        milkrun("replay")


def command(urls: DatabaseUrls, data, monkeypatch):
    """`milkrun dead-letters` against the database of the test; gives what it printed."""
    for login in ("app", "ingest", "operator"):
        monkeypatch.setenv(f"MILKRUN_DATABASE_{login.upper()}_URL", getattr(urls, login))
    monkeypatch.setenv("MILKRUN_DATABASE_URL", urls.owner)
    monkeypatch.setenv("MILKRUN_REDIS_URL", "redis://127.0.0.1:1/0")

    def run(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(dead_letters_app, [*arguments, "--data", str(data)], env={"COLUMNS": "300"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result.stdout

    return run


async def again(urls: DatabaseUrls, *ids: int) -> list[Outcome]:
    """Replay as the command does."""
    settings = Settings(database=DatabaseSettings(), redis=RedisSettings(url="redis://127.0.0.1:1/0"))
    async with Database(urls.ingest, pool_size=1) as ingest, Database(urls.operator, pool_size=1) as operator:
        async with operator.unscoped(reason="test") as tx:
            found: list[Letter] = await load(tx, ids)
        return await replay(found, settings=settings, ingest=ingest, operator=operator)


async def a_late_believed_letter(urls: DatabaseUrls) -> int:
    """A sample far from the last position: refused for its implied speed, its seq marked as settled."""
    register(urls, TRUCK)
    await feed(urls, (TRUCK, sample(minutes_ago(2), 1)))
    await feed(urls, (TRUCK, sample(minutes_ago(1), 2, lat=48.0)))
    await feed(urls, (TRUCK, sample(minutes_ago(0), 3)))
    [(letter, reason, _)] = letters(urls)
    assert reason == "implied_speed"
    return letter
