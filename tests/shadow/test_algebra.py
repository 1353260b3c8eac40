"""Laws of merging and difference, over any trees."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shadow import algebra, model
from shadow.model import NOTHING, Document, Update

KEYS = st.sampled_from(["a", "b", "c", "timestamp"])
LEAVES = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from(["", "x"]))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
STATES = st.dictionaries(KEYS, VALUES, max_size=4)
PATCHES = st.dictionaries(
    KEYS,
    st.recursive(LEAVES | st.none(), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8),
    max_size=4,
)


def without_nulls(value: Any) -> bool:
    if isinstance(value, dict):
        return all(each is not None and without_nulls(each) for each in value.values())
    return True


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Leaves (arrays and empty objects are ones) by their path."""
    if isinstance(value, dict) and value:
        return {at: leaf for key, each in value.items() for at, leaf in leaves(each, (*path, key)).items()}
    return {path: value}


def at_path(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@given(STATES, STATES)
def test_s20_the_delta_merged_onto_reported_satisfies_every_desired_leaf(desired, reported):
    after = algebra.merge(reported, algebra.delta(desired, reported))
    for path, leaf in leaves(desired).items():
        if path and leaf != {}:
            assert algebra.equal(at_path(after, path), leaf)
    assert algebra.delta(desired, after) == {}


@given(STATES, STATES)
def test_the_delta_is_no_more_than_what_differs(desired, reported):
    differing = algebra.delta(desired, reported)
    assert algebra.delta(desired, desired) == {}
    for path, leaf in leaves(differing).items():
        if path:
            assert at_path(desired, path) == leaf
            try:
                given_leaf = at_path(reported, path)
            except (KeyError, TypeError, IndexError):
                continue
            assert not algebra.equal(given_leaf, leaf)


@given(STATES, STATES)
def test_what_reported_alone_has_is_never_in_the_delta(desired, reported):
    def keys_within(part, whole):
        return all(
            key in whole and (not isinstance(value, dict) or keys_within(value, whole[key]))
            for key, value in part.items()
        )

    assert keys_within(algebra.delta(desired, reported), desired)


@given(STATES, PATCHES)
def test_a_merge_leaves_no_null_changes_nothing_given_and_is_the_same_when_repeated(state, patch):
    before = repr((state, patch))
    merged = algebra.merge(state, patch)
    assert without_nulls(merged)
    assert algebra.merge(merged, patch) == merged
    assert repr((state, patch)) == before


@given(STATES, PATCHES)
def test_keys_a_patch_does_not_name_stay(state, patch):
    merged = algebra.merge(state, patch)
    assert all(merged[key] == value for key, value in state.items() if key not in patch)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return "leaf"


def stamp_shape(value: Any, stamps: Any) -> Any:
    """The shape that a tree of timestamps tells, read along the tree of values it belongs to."""
    if isinstance(value, dict):
        assert value.keys() == stamps.keys()
        return {key: stamp_shape(each, stamps[key]) for key, each in value.items()}
    if isinstance(value, list):
        assert len(value) == len(stamps)
        return [stamp_shape(each, stamp) for each, stamp in zip(value, stamps, strict=True)]
    assert list(stamps) == ["timestamp"]
    assert isinstance(stamps["timestamp"], int)
    return "leaf"


@given(st.lists(PATCHES | STATES, max_size=5))
def test_timestamps_have_the_shape_of_the_state_and_only_what_a_patch_names_is_new(patches):
    document = NOTHING
    for at_s, patch in enumerate(patches, 1):
        before = document
        document = changed(document, {"desired": patch}, at_s)
        state, stamps = document.desired.state, document.desired.stamps
        assert stamp_shape(state, stamps) == shape(state)
        for key in state.keys() - patch.keys():
            assert stamps[key] == before.desired.stamps[key]


@given(st.lists(st.tuples(st.sampled_from(["desired", "reported"]), st.none() | PATCHES), max_size=8))
def test_the_version_grows_by_one_with_every_update(updates):
    document = NOTHING
    for number, (section, patch) in enumerate(updates, 1):
        document = changed(document, {section: patch}, number)
        assert document.version == number
        assert document.exists


@given(st.lists(st.tuples(st.sampled_from(["desired", "reported"]), PATCHES), min_size=1, max_size=6), st.randoms())
def test_a_device_that_takes_deltas_in_any_order_by_version_ends_at_what_is_desired(updates, random):
    """What the contract asks of a device: take a delta unless it is older than the last one taken (`<`, not `<=`)."""
    document, deltas = NOTHING, []
    for at_s, (section, patch) in enumerate(updates, 1):
        document = changed(document, {section: patch}, at_s)
        deltas.append((document.version, document.delta()))
    deltas += random.sample(deltas, len(deltas) // 2)
    random.shuffle(deltas)
    newest, wanted = 0, {}
    for version, differing in deltas:
        if version >= newest:
            newest, wanted = version, differing
    after = algebra.merge(document.reported.state, wanted)
    assert algebra.delta(document.desired.state, after) == {}


@given(st.lists(st.tuples(st.integers(0, 3), PATCHES), max_size=8))
def test_with_a_version_an_update_counts_only_on_the_state_it_was_made_for(updates):
    """Two writers who read the same version: the second is refused, so nothing it did not see is overwritten."""
    document = NOTHING
    for behind, patch in updates:
        seen = document.version - behind
        if seen < 0:
            continue
        try:
            after = model.update(document, Update({"desired": patch}, seen, None), 1, most_bytes=10_000).document
        except model.ShadowVersionConflict:
            assert behind
        else:
            assert not behind
            document = after


def changed(document: Document, patches: dict[str, Any], at_s: int) -> Document:
    return model.update(document, Update(patches, None, None), at_s, most_bytes=100_000).document


def test_true_is_not_one_and_one_is_one_point_zero():
    assert algebra.delta({"a": True}, {"a": 1}) == {"a": True}
    assert algebra.delta({"a": [True]}, {"a": [1]}) == {"a": [True]}
    assert algebra.delta({"a": 1, "b": [{"c": 2.0}]}, {"a": 1.0, "b": [{"c": 2}]}) == {}


def test_an_object_of_nothing_but_nulls_puts_nothing_where_nothing_was():
    assert algebra.merge({}, {"a": {"b": None}}) == {}
    assert algebra.merge({}, {"a": {}}) == {"a": {}}
    assert algebra.merge({"a": 1}, {"a": {"b": None}}) == {"a": {}}
    assert algebra.merge({"a": {"b": 1}}, {"a": {"b": None}}) == {"a": {}}
    assert algebra.merge({"a": {"b": 1}}, {"a": {}}) == {"a": {"b": 1}}
