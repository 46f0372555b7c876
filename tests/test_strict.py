from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import AgreementError, ConfigError, InvalidValue
from fedjoint.strict import build, plain, strict


@strict
@dataclass(frozen=True, kw_only=True)
class Leaf:
    name: str
    width: int = 1
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InvalidValue(f"width = {self.width}", expected="at least 1", remedy="Widen it.")


@strict
@dataclass(frozen=True, kw_only=True)
class Tree:
    kind: Literal["oak", "elm"]
    leaves: tuple[Leaf, ...] = ()
    best: Leaf | None = None
    by_name: Mapping[str, Leaf] | None = None
    fill: float | str | None = None
    integers: dict[str, int] | None = None


LEAVES = st.builds(
    Leaf,
    name=st.text(max_size=5),
    width=st.integers(1, 2**53 - 1),
    rate=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
TREES = st.builds(
    Tree,
    kind=st.sampled_from(["oak", "elm"]),
    leaves=st.lists(LEAVES, max_size=3).map(tuple),
    best=st.none() | LEAVES,
    by_name=st.none() | st.dictionaries(st.text(max_size=3), LEAVES, max_size=2),
    fill=st.none() | st.text(max_size=3) | st.floats(allow_nan=False, allow_infinity=False),
    integers=st.none() | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(TREES)
def test_plain_and_build_are_inverse(tree):
    assert build(Tree, plain(tree)) == tree
    assert build(Tree, json.loads(json.dumps(plain(tree)))) == tree


def test_lists_become_tuples_and_defaults_are_filled_in():
    tree = build(Tree, {"kind": "oak", "leaves": [{"name": "a"}]})
    assert tree == Tree(kind="oak", leaves=(Leaf(name="a", width=1, rate=None),))


def test_a_whole_number_is_taken_where_any_number_may_stand():
    assert build(Leaf, {"name": "a", "rate": 2}).rate == 2.0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"kin": "oak"}, "unknown key 'kin'; expected one of: best, .*, leaves. Did you mean 'kind'"),
        ({"kind": "oak", "leaves": [{"name": "a"}, {"nam": "b"}]}, "unknown key 'leaves.1.nam'.* 'leaves.1.name'"),
        ({"kind": "oak", "best": {"name": "a", "widht": 1}}, "unknown key 'best.widht'.* 'best.width'"),
        ({"kind": "oak", "by_name": {"x": {"name": "a", "rat": 1}}}, "unknown key 'by_name.x.rat'.* 'by_name.x.rate'"),
        ({"kind": "oak", "integer": {}}, "unknown key 'integer'.* Did you mean 'integers'"),
        ({"kind": "oak", "float": 1}, "unknown key 'float'; expected one of: best"),
        ({"kind": "oak", "function-x": 1}, "unknown key 'function-x'; expected one of: best"),
        ({"kind": "oak", "": 1}, "unknown key ''"),
        ({}, "missing key 'kind'. Add it"),
        ({"kind": "oak", "leaves": [{}]}, "missing key 'leaves.0.name'. Add it"),
        ({"kind": "oak", "best": {}}, "missing key 'best.name'"),
        ({"kind": "ash"}, "kind = \"ash\" does not fit: Input should be 'oak' or 'elm'"),
        ({"kind": 3}, "kind = 3 does not fit"),
        ({"kind": "oak", "leaves": {}}, "leaves = {} does not fit"),
        ({"kind": "oak", "best": {"name": 3}}, "best.name = 3 does not fit: Input should be a valid string"),
        ({"kind": "oak", "best": {"name": "a", "width": "1"}}, 'best.width = "1" does not fit'),
        ({"kind": "oak", "best": {"name": "a", "width": 1.0}}, "best.width = 1.0 does not fit"),
        ({"kind": "oak", "best": {"name": "a", "width": True}}, "best.width = true does not fit"),
        ({"kind": "oak", "best": {"name": "a", "rate": False}}, "best.rate = false does not fit"),
        ({"kind": "oak", "fill": []}, r"fill = \[\] does not fit"),
        ({"kind": "oak", "integers": {"a": "x"}}, 'integers.a = "x" does not fit'),
        ({"kind": "oak", "best": {"name": "a", "width": 0}}, "width = 0; expected at least 1. Widen it"),
        (None, "value = null does not fit"),
        ([], r"value = \[\] does not fit"),
        ("oak", 'value = "oak" does not fit'),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(value, words):
    with pytest.raises(InvalidValue, match=words):
        build(Tree, value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"kind": "oak", "fill": math.nan}, "plan.fill is not plain JSON"),
        ({"kind": "oak", "leaves": [{"name": "a", "rate": -math.inf}]}, r"plan.leaves.0.rate is not plain JSON"),
        ({"kind": "oak", "fill": {1, 2}}, "plan.fill is not plain JSON"),
        ({"kind": b"oak"}, "plan.kind is not plain JSON"),
        ({(1, 2): 3}, "plan is not plain JSON"),
        (math.nan, "plan is not plain JSON"),
    ],
)
def test_what_json_does_not_have_is_refused_by_its_key(value, words):
    with pytest.raises(InvalidValue, match=words):
        build(Tree, value, where="plan")


def test_what_has_no_name_is_called_by_its_type():
    with pytest.raises(InvalidValue, match="Tree is not plain JSON"):
        build(Tree, math.inf)


def test_a_value_nested_in_itself_or_too_deep_is_refused_and_not_a_crash():
    circle: list[Any] = []
    circle.append(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep, {"kind": circle}):
        with pytest.raises(InvalidValue, match="is not plain JSON"):
            build(Tree, value)


def test_half_a_character_is_refused():
    with pytest.raises(InvalidValue, match="does not fit: Invalid JSON"):
        build(Leaf, {"name": "\ud800"})


def test_the_error_asked_for_is_raised_and_the_place_is_put_before_the_key():
    for value, words in (
        ({"kin": 1}, "'plan.kin'.* Did you mean 'plan.kind'"),
        ({}, "'plan.kind'"),
        ({"kind": 1}, "plan.kind = 1"),
    ):
        with pytest.raises(AgreementError, match=words):
            build(Tree, value, error=AgreementError, where="plan")


def test_a_constructor_s_refusal_becomes_the_error_asked_for_with_its_remedy():
    with pytest.raises(ConfigError, match=r"width = 0; expected at least 1\. Widen it") as refused:
        build(Leaf, {"name": "a", "width": 0}, error=ConfigError)
    assert refused.value.remedy == "Widen it."


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(InvalidValue) as refused:
        build(Tree, {"kind": "x" * 10_000})
    assert len(str(refused.value)) < 200


def test_plain_leaves_a_class_and_a_foreign_value_alone():
    thing = object()
    assert plain({"a": (Leaf, thing)}) == {"a": [Leaf, thing]}
