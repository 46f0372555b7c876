import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import MAX_HOLDERS
from fedjoint.data.partition import holder_id, partition_by_holder, select_holders, split_reference
from fedjoint.errors import DataError

RECORDS = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from([0.0, 1.0, 2.0])), min_size=1, max_size=120)


def of(records):
    return np.array([holder for holder, _ in records], object), np.array([label for _, label in records])


@given(RECORDS, st.floats(0.01, 0.9), st.integers(0, 2**53 - 1))
def test_the_reference_set_takes_the_fraction_of_every_holder_and_class(records, fraction, seed):
    holder_of, classes = of(records)
    train, reference = split_reference(holder_of, classes, fraction=fraction, seed=seed)
    assert sorted([*train, *reference]) == list(range(len(records)))
    for holder in set(holder_of):
        mine = holder_of == holder
        assert mine[train].sum() >= 1
        assert mine[reference].sum() == min(round(fraction * mine.sum()), mine.sum() - 1)
        for label in set(classes):
            stratum = mine & (classes == label)
            assert abs(stratum[reference].sum() - fraction * stratum.sum()) <= 1


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    holder_of, classes = np.array(["A", "B"] * 50, object), np.arange(100) % 3
    splits = [split_reference(holder_of, classes, fraction=0.34, seed=seed)[1].tolist() for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_a_holders_split_does_not_depend_on_the_global_generator():
    holder_of = np.array(["A"] * 50, object)
    first = split_reference(holder_of, None, fraction=0.5, seed=3)[0].tolist()
    np.random.default_rng().random()
    assert split_reference(holder_of, None, fraction=0.5, seed=3)[0].tolist() == first


def test_a_numeric_target_is_split_by_holder_only():
    holder_of = np.array(["A"] * 10 + ["B"] * 20, object)
    _, reference = split_reference(holder_of, None, fraction=0.3, seed=0)
    assert [(holder_of[reference] == holder).sum() for holder in "AB"] == [3, 6]


@pytest.mark.parametrize("fraction", [0.0, -0.1, 0.91, 1.0, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(DataError, match="reference fraction"):
        split_reference(np.array(["A", "B"], object), None, fraction=fraction, seed=0)


def test_targets_of_another_length_are_refused():
    with pytest.raises(DataError, match="2 records have 3 targets"):
        split_reference(np.array(["A", "B"], object), np.zeros(3), fraction=0.5, seed=0)


def test_each_record_belongs_to_its_holder():
    parts = partition_by_holder(np.array(["VA Long Beach", "Cleveland", "VA Long Beach"], object))
    assert {holder: index.tolist() for holder, index in parts.items()} == {"cleveland": [1], "va-long-beach": [0, 2]}
    assert list(parts) == sorted(parts)


def test_two_spellings_of_one_holder_are_refused():
    with pytest.raises(DataError, match="'VA' and 'va' are spelled too alike"):
        partition_by_holder(np.array(["VA", "va"], object))


@given(st.text(min_size=1).filter(str.strip))
def test_every_name_gives_a_valid_id(name):
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", holder_id(name))


@given(st.sets(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1), min_size=2, max_size=8))
def test_names_in_other_scripts_give_different_ids(names):
    assert len({holder_id(name) for name in names}) == len(names)


def test_names_that_differ_only_in_another_script_or_far_along_stay_apart():
    assert holder_id("北京 1") != holder_id("上海 1")
    assert holder_id("a" * 70 + "b") != holder_id("a" * 70 + "c")


def test_an_empty_name_is_refused():
    with pytest.raises(DataError, match="empty name"):
        holder_id(" ")


def parts_of(**sizes):
    starts = np.cumsum([0, *sizes.values()])
    return {name: np.arange(starts[n], starts[n + 1]) for n, name in enumerate(sizes)}


def test_small_holders_are_left_out_with_the_reason_and_those_of_one_class_are_listed():
    classes = np.array([0, 1] * 5 + [1] * 12 + [0])
    selection = select_holders(parts_of(a=10, b=12, c=1, d=0), classes, minimum_examples=10)
    assert selection.kept == ("a", "b")
    assert selection.left_out == (
        ("c", "fewer than 10 training records"),
        ("d", "fewer than 10 training records"),
    )
    assert selection.one_class == ("b",)


def test_a_numeric_target_has_no_one_class_holders():
    assert select_holders(parts_of(a=2, b=2), None, minimum_examples=1).one_class == ()


def test_beyond_the_limit_the_largest_holders_are_kept():
    sizes = {f"h{n:03d}": 1 + (n >= 3) for n in range(MAX_HOLDERS + 3)}
    selection = select_holders(parts_of(**sizes), None, minimum_examples=1)
    assert len(selection.kept) == MAX_HOLDERS
    assert [holder for holder, _ in selection.left_out] == ["h000", "h001", "h002"]
    assert selection.left_out[0][1] == "beyond the 200 largest holders"


def test_fewer_than_two_holders_or_no_minimum_are_refused():
    with pytest.raises(DataError, match="1 of 2 holders have at least 10"):
        select_holders(parts_of(a=10, b=9), None, minimum_examples=10)
    with pytest.raises(DataError, match="minimum_examples is 0"):
        select_holders(parts_of(a=10, b=9), None, minimum_examples=0)
