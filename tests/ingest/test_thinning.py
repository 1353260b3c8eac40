"""Thinned tracks: what is kept is what a naive computation keeps, and the ends and gaps are always among it."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.history.thinning import GAP_S, LOOKED_AT, is_in_order, thin

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 5.0, 60.0, 599.0, 601.0, 4000.0]),
        st.floats(-0.01, 0.01, allow_nan=False),
        st.floats(-0.01, 0.01, allow_nan=False),
    ),
    min_size=1,
    max_size=LOOKED_AT,
)


def way(steps: Sequence[tuple[float, float, float]]) -> tuple[list[float], list[float], list[float]]:
    t, lat, lon = [1.79e9], [47.0], [9.0]
    for dt, dlat, dlon in steps:
        t.append(t[-1] + dt)
        lat.append(lat[-1] + dlat)
        lon.append(lon[-1] + dlon)
    return t, lat, lon


def narrowed(lat: Sequence[float]) -> float:
    """How much shorter a degree of longitude is than one of latitude, in the middle of the track."""
    return math.cos(math.radians((max(lat) + min(lat)) / 2))


def off(t, lat, lon, low, high, at, narrow) -> float:
    """Squared degrees from where the straight line between two fixes is at the time of a third."""
    part = (t[at] - t[low]) / ((t[high] - t[low]) or 1.0)
    x = lon[low] + part * (lon[high] - lon[low]) - lon[at]
    y = lat[low] + part * (lat[high] - lat[low]) - lat[at]
    return (x * narrow) ** 2 + y**2


def worst(t, lat, lon, kept: Sequence[int]) -> float:
    narrow = narrowed(lat)
    return max(
        (off(t, lat, lon, low, high, at, narrow) for low, high in pairwise(kept) for at in range(low + 1, high)),
        default=0.0,
    )


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, most=st.integers(2, 70))
def test_what_is_kept_is_in_order_within_the_number_and_has_both_ends(steps, most):
    t, lat, lon = way(steps)
    kept = thin(t, lat, lon, most)
    assert len(kept) <= most or len(kept) == len(t) <= most
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (0, len(t) - 1)
    if len(t) <= most:
        assert kept == list(range(len(t)))


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, most=st.integers(3, 40))
def test_each_fix_that_is_taken_in_is_the_worst_one_without_it(steps, most):
    """One more point: the same choice, and the point farthest from the track so far (a naive search over all)."""
    t, lat, lon = way([(min(dt, 60.0), dlat, dlon) for dt, dlat, dlon in steps])
    few, more = thin(t, lat, lon, most - 1), thin(t, lat, lon, most)
    if len(t) <= most:
        return
    assert set(few) <= set(more)
    added = set(more) - set(few)
    assert len(added) <= 1
    for at in added:
        low = max(k for k in few if k < at)
        high = min(k for k in few if k > at)
        farthest = off(t, lat, lon, low, high, at, narrowed(lat))
        assert math.isclose(farthest, worst(t, lat, lon, few), rel_tol=1e-6, abs_tol=1e-18)
    if not added:
        assert worst(t, lat, lon, few) < 1e-18


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_all_gaps_keep_both_ends_where_there_is_room(steps):
    t, lat, lon = way(steps)
    ends = {0, len(t) - 1} | {end for at in range(1, len(t)) if t[at] - t[at - 1] > GAP_S for end in (at - 1, at)}
    assert ends <= set(thin(t, lat, lon, max(2, len(ends))))


def test_with_little_room_the_longest_gaps_come_first():
    t = [0.0, 1.0, 1001.0, 1002.0, 6002.0, 6003.0, 7000.0, 7001.0]
    zeros = [0.0] * len(t)
    assert thin(t, zeros, zeros, 4) == [0, 3, 4, 7]


def test_a_halt_keeps_its_length():
    """Ten minutes of driving, ten of standing, ten of driving: by shape alone the halt would be one point at most."""
    t = [30.0 * n for n in range(61)]
    lon = [9 + 1e-4 * min(s, max(600.0, s - 600.0)) for s in t]
    lat = [47.0] * len(t)
    assert thin(t, lat, lon, 4) == [0, 20, 40, 60]


@pytest.mark.parametrize("most", [2, 20, 300])
def test_a_track_over_the_180th_meridian_is_no_trip_around_the_world(most):
    t = [float(s) for s in range(3000)]
    lon = [(179.9 + 1e-4 * s + 180.0) % 360.0 - 180.0 for s in t]
    lat = [-17 + 0.01 * math.sin(s / 50) for s in t]
    shifted = [(degrees + 360.0) % 360.0 - 180.0 for degrees in lon]
    assert thin(t, lat, lon, most) == thin(t, lat, shifted, most)


def test_long_tracks_stay_near_and_cost_little_more():
    t = [float(s) for s in range(40_000)]
    lat = [47 + 0.2 * math.sin(s / 3000) + 0.002 * math.sin(s / 100) for s in t]
    lon = [9 + 0.2 * math.cos(s / 3000) for s in t]
    kept = thin(t, lat, lon, 2000)
    assert len(kept) == 2000
    assert math.sqrt(worst(t, lat, lon, kept)) * 111_195 < 10


def test_order_is_told():
    assert is_in_order([1.0, 1.0, 2.0])
    assert is_in_order([])
    assert not is_in_order([2.0, 1.0])
