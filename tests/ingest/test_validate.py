import math

import msgspec
import pytest

from core.settings import IngestSettings
from core.telemetry import Position, Sample
from ingest.reasons import Reason, Rejection
from ingest.validate import MAX_SEQ, check

NOW_MS = 1_790_000_000_000
LIMITS = IngestSettings()
POS = Position(lat=47.141, lon=9.5215)


def verdict(**fields: object) -> Rejection | None:
    return check(Sample(**({"ts": NOW_MS} | fields)), NOW_MS, LIMITS)


def reason(**fields: object) -> Reason | None:
    found = verdict(**fields)
    return None if found is None else found.reason


def at(**fields: object) -> Position:
    return msgspec.structs.replace(POS, **fields)


def test_a_sample_with_every_field_passes():
    pos = Position(lat=47.1, lon=9.5, alt=455.0, speed=13.9, heading=182.0, acc=4.0, sats=11, hdop=0.9)
    metrics = {"ignition": True, "fuel_pct": 61.5, "odometer_m": 183_245_200, "driver": "Änne", "note": ""}
    assert verdict(boot="k3f9", seq=812, pos=pos, m=metrics) is None


def test_a_sample_with_a_time_alone_is_a_sign_of_life():
    assert verdict() is None
    assert verdict(m={}) is None


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("lat", -90.0, 90.0),
        ("lon", -180.0, 180.0),
        ("alt", -500.0, 20_000.0),
        ("speed", 0.0, 150.0),
        ("heading", 0.0, 360.0),
        ("acc", 0.0, 100_000.0),
        ("sats", 0, 100),
        ("hdop", 0.0, 100.0),
    ],
)
def test_a_position_field_is_taken_up_to_its_bounds_and_not_beyond(field: str, low: float, high: float):
    step = 1 if isinstance(low, int) else 1e-6
    assert verdict(pos=at(**{field: low})) is None
    assert verdict(pos=at(**{field: high})) is None
    for value in (low - step, high + step, math.nan, math.inf, -math.inf, 10**400):
        found = verdict(pos=at(**{field: value}), boot="b", seq=7)
        assert found is not None, value
        assert (found.reason, found.boot, found.seq) == (Reason.OUT_OF_RANGE, "b", 7)
        assert f"pos.{field} is {low:.0f} to {high:.0f}" in found.detail


def test_the_place_where_equator_and_greenwich_meet_is_no_fix_and_its_surroundings_are():
    assert reason(pos=at(lat=0.0, lon=0.0)) is Reason.NULL_ISLAND
    assert reason(pos=at(lat=-0.00009, lon=0.00009)) is Reason.NULL_ISLAND
    assert reason(pos=at(lat=0.0, lon=9.5)) is None
    assert reason(pos=at(lat=47.1, lon=0.0)) is None
    assert reason(pos=at(lat=0.001, lon=0.0)) is None


def test_the_clock_window_is_seven_days_back_and_two_minutes_ahead():
    oldest, newest = NOW_MS - 7 * 86_400_000, NOW_MS + 120_000
    assert reason(ts=oldest) is None
    assert reason(ts=newest) is None
    assert reason(ts=oldest - 1) is Reason.TOO_OLD
    assert reason(ts=newest + 1) is Reason.IN_FUTURE
    assert reason(ts=0) is Reason.TOO_OLD
    assert reason(ts=-(10**400)) is Reason.TOO_OLD


def test_the_clock_window_follows_the_settings():
    limits = IngestSettings(max_age_s=60, max_ahead_s=5)
    assert check(Sample(ts=NOW_MS - 60_000), NOW_MS, limits) is None
    too_old = check(Sample(ts=NOW_MS - 61_000), NOW_MS, limits)
    assert too_old is not None
    assert too_old.detail == "ts is 61 s old; at most 60 s"
    ahead = check(Sample(ts=NOW_MS + 6_000), NOW_MS, limits)
    assert ahead is not None
    assert ahead.detail == "ts is 6 s ahead of the server; at most 5 s"


@pytest.mark.parametrize(
    ("ts", "unit"),
    [(NOW_MS // 1000, "seconds"), (NOW_MS * 1000, "microseconds"), (NOW_MS * 1_000_000, "microseconds")],
)
def test_a_time_in_another_unit_is_called_so(ts: int, unit: str):
    found = verdict(ts=ts)
    assert found is not None
    assert found.reason is Reason.OUT_OF_RANGE
    assert f"looks like {unit}" in found.detail
    assert "send milliseconds" in found.detail


@pytest.mark.parametrize("boot", ["", "k", "k3f9 2026-09-21T08:00:00Z", "~" * 64])
def test_a_boot_id_is_printable_ascii(boot: str):
    assert verdict(boot=boot, seq=1) is None


@pytest.mark.parametrize("boot", ["\0", "a\0b", "é", "a\n", "~" * 65, "\x7f", "\u202e"])
def test_a_boot_id_that_is_not_printable_ascii_is_refused_and_not_passed_on(boot: str):
    found = verdict(boot=boot, seq=1)
    assert found is not None
    assert (found.reason, found.boot, found.seq) == (Reason.BAD_TEXT, "", None)


def test_a_seq_counts_from_zero_to_what_every_json_library_can_hold():
    assert verdict(seq=0) is None
    assert verdict(seq=MAX_SEQ) is None
    for seq in (-1, MAX_SEQ + 1, 10**5000):
        found = verdict(boot="b", seq=seq)
        assert found is not None
        assert (found.reason, found.seq) == (Reason.OUT_OF_RANGE, None)


@pytest.mark.parametrize("name", ["fuel_pct", "_x", "a", "can.bus-1:rpm#2", "Z" * 64])
def test_a_metric_name_is_ascii_starting_with_a_letter(name: str):
    assert verdict(m={name: 1}) is None


@pytest.mark.parametrize("name", ["", "1st", "fuel pct", "a\n", "a\0", "größe", "a/b", "Z" * 65, "-a", "a;--"])
def test_another_metric_name_is_refused(name: str):
    assert reason(m={name: 1}) is Reason.BAD_NAME


def test_a_text_is_taken_up_to_1024_characters_without_nul():
    assert verdict(m={"note": "ü" * 1024}) is None
    assert reason(m={"note": "x" * 1025}) is Reason.BAD_TEXT
    assert reason(m={"note": "a\0b"}) is Reason.BAD_TEXT


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1e290, 2**63, -(2**63) - 1, 10**400])
def test_a_number_that_cannot_be_stored_is_refused(value: float):
    assert reason(m={"n": value}) is Reason.OUT_OF_RANGE


@pytest.mark.parametrize("value", [0, -0.0, True, 2**63 - 1, -(2**63), 1e290, -1e290, 5e-324])
def test_a_number_at_the_edge_is_taken(value: float):
    assert verdict(m={"n": value}) is None


def test_a_sample_carries_at_most_as_many_metrics_as_the_settings_say():
    limits = IngestSettings(max_metrics=3)
    assert check(Sample(ts=NOW_MS, m=dict.fromkeys("abc", 1)), NOW_MS, limits) is None
    found = check(Sample(ts=NOW_MS, m=dict.fromkeys("abcd", 1)), NOW_MS, limits)
    assert found == Rejection(Reason.TOO_MANY_METRICS, "4 metrics in one sample; at most 3")


def test_a_verdict_names_the_sample_and_can_be_stored_whatever_is_in_it():
    found = verdict(boot="k3f9", seq=3, m={"\0\x1b[31m\u202e" * 200: 1})
    assert found is not None
    assert (found.boot, found.seq) == ("k3f9", 3)
    assert found.detail.isprintable()
    assert len(found.detail) <= 400
