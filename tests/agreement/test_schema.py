from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.schema import MAX_CATEGORIES, MAX_COLUMNS, Column, Schema, Target
from fedjoint.errors import InvalidValue
from fedjoint.strict import build

AGE = Column(name="age", kind="number", center=53.5, scale=9.5, low=18.0, high=110.0, missing_flag=True)
PAIN = Column(name="cp", kind="category", categories=("typical", "atypical", "none"), fill="none")
DIED = Target(name="died", task="binary", classes=("no", "yes"))

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=5e-324, allow_infinity=False)
NAMES = st.text(min_size=1, max_size=8)
CATEGORIES = st.lists(NAMES, min_size=1, max_size=5, unique=True).map(tuple)
NUMBERS = st.builds(
    Column, name=NAMES, kind=st.just("number"), center=FINITE, scale=POSITIVE, fill=st.none() | FINITE, unit=st.text()
)
CHOICES = CATEGORIES.flatmap(
    lambda values: st.builds(
        Column,
        name=NAMES,
        kind=st.just("category"),
        categories=st.just(values),
        fill=st.none() | st.sampled_from(values),
        missing_flag=st.booleans(),
    )
)
SCHEMAS = st.lists(NUMBERS | CHOICES, min_size=1, max_size=4, unique_by=lambda column: column.name).map(
    lambda columns: Schema(columns=tuple(columns), target=Target(name="the target", task="number"))
)


def number(**changes: Any) -> Column:
    return Column(**({"name": "x", "kind": "number"} | changes))


def category(**changes: Any) -> Column:
    return Column(**({"name": "x", "kind": "category", "categories": ("a", "b")} | changes))


@given(SCHEMAS)
def test_a_schema_survives_being_written_and_read(schema):
    read = parse_canonical(canonical_bytes(schema), error=InvalidValue, where="schema")
    assert build(Schema, read) == schema


@given(SCHEMAS)
def test_a_record_becomes_as_many_numbers_as_there_are_feature_names(schema):
    assert schema.width == len(schema.feature_names) == sum(column.width for column in schema.columns)


def test_the_features_of_two_columns_by_hand():
    schema = Schema(columns=(AGE, PAIN), target=DIED)
    assert schema.feature_names == ("age", "age missing", "cp=typical", "cp=atypical", "cp=none")
    assert (schema.width, AGE.width, PAIN.width) == (5, 2, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "empty name"),
        ({"center": math.nan}, "center nan"),
        ({"center": math.inf}, "center inf"),
        ({"scale": math.inf}, "scale inf"),
        ({"scale": 0.0}, "scale 0"),
        ({"scale": -1.0}, "scale -1"),
        ({"low": math.nan}, "low nan"),
        ({"high": math.inf}, "high inf"),
        ({"low": 2.0, "high": 1.0}, "low 2.0 and high 1.0"),
        ({"low": 1.0, "high": 1.0}, "low < high"),
        ({"fill": "a"}, "fill 'a'"),
        ({"fill": math.nan}, "fill nan"),
        ({"categories": ("a",)}, "is a number and has categories"),
    ],
)
def test_a_number_that_no_table_has_is_refused(changes, words):
    with pytest.raises(InvalidValue, match=words):
        number(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "empty name"),
        ({"categories": ()}, "has 0 categories"),
        ({"categories": ("a", "a")}, "each once"),
        ({"categories": tuple(map(str, range(MAX_CATEGORIES + 1)))}, "has 201 categories"),
        ({"fill": "c"}, "one of its categories"),
        ({"fill": 1.0}, "one of its categories"),
        ({"center": math.nan}, "center nan"),
    ],
)
def test_a_category_that_no_table_has_is_refused(changes, words):
    with pytest.raises(InvalidValue, match=words):
        category(**changes)


def test_the_most_categories_are_allowed():
    assert category(categories=tuple(map(str, range(MAX_CATEGORIES)))).width == MAX_CATEGORIES


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "binary", "classes": ("no",)}, "2 distinct classes"),
        ({"task": "binary", "classes": ("no", "yes", "maybe")}, "2 distinct classes"),
        ({"task": "binary", "classes": ("no", "no")}, "2 distinct classes"),
        ({"task": "multiclass", "classes": ("a", "b")}, "3 to 200 distinct classes"),
        ({"task": "multiclass", "classes": tuple(map(str, range(201)))}, "3 to 200 distinct classes"),
        ({"task": "multiclass", "classes": ("a", "b", "a")}, "3 to 200 distinct classes"),
        ({"task": "number", "classes": ("a",)}, "no distinct classes"),
        ({"task": "number", "center": math.nan}, "center nan"),
        ({"task": "number", "scale": 0.0}, "scale 0"),
        ({"task": "number", "scale": math.inf}, "scale inf"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(changes, words):
    with pytest.raises(InvalidValue, match=words):
        Target(name="y", **changes)


@pytest.mark.parametrize(
    ("task", "classes", "outputs"),
    [("binary", ("no", "yes"), 1), ("multiclass", ("a", "b", "c"), 3), ("number", (), 1)],
)
def test_a_model_has_one_logit_or_one_output_a_class_or_one_number(task, classes, outputs):
    assert Target(name="y", task=task, classes=classes).outputs == outputs


def test_a_schema_without_columns_or_with_too_many_is_refused():
    with pytest.raises(InvalidValue, match="has 0 columns"):
        Schema(columns=(), target=DIED)
    many = tuple(number(name=str(place)) for place in range(MAX_COLUMNS + 1))
    with pytest.raises(InvalidValue, match="has 2001 columns"):
        Schema(columns=many, target=DIED)


def test_a_column_that_stands_twice_or_is_the_target_is_refused():
    with pytest.raises(InvalidValue, match="column 'age' stands twice"):
        Schema(columns=(AGE, PAIN, AGE), target=DIED)
    with pytest.raises(InvalidValue, match="column 'died' stands twice"):
        Schema(columns=(AGE, number(name="died")), target=DIED)
