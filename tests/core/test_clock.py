from datetime import UTC, datetime, timedelta

from core.clock import ReplayClock, epoch_ms, play

NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)


class Wall:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


def test_a_replay_clock_is_the_walls_until_something_is_played(tmp_path):
    clock, wall = tmp_path / "clock.json", Wall()
    told = ReplayClock(clock, wall)
    assert told() == NOON
    play(clock, began_at_ms=epoch_ms(NOON), at_ms=epoch_ms(NOON - timedelta(minutes=29)), speed=30.0)
    assert told() == NOON - timedelta(minutes=29)
    wall.now += timedelta(seconds=10)
    assert told() == NOON - timedelta(minutes=24)
    clock.unlink()
    assert told() == wall.now


def test_it_never_overtakes_the_wall(tmp_path):
    clock, wall = tmp_path / "clock.json", Wall()
    told = ReplayClock(clock, wall)
    play(clock, began_at_ms=epoch_ms(NOON), at_ms=epoch_ms(NOON - timedelta(minutes=29)), speed=30.0)
    wall.now += timedelta(seconds=60)
    assert told() == wall.now
    wall.now += timedelta(hours=1)
    assert told() == wall.now


def test_another_recording_is_taken_up(tmp_path):
    clock, wall = tmp_path / "clock.json", Wall()
    told = ReplayClock(clock, wall)
    for minutes in (29, 58):
        play(clock, began_at_ms=epoch_ms(NOON), at_ms=epoch_ms(NOON - timedelta(minutes=minutes)), speed=30.0)
        assert told() == NOON - timedelta(minutes=minutes)
