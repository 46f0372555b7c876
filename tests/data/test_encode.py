import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.encode import encode, scale_rows
from fedjoint.data.records import Table
from fedjoint.errors import DataError, InvalidValue

BINARY = Target(name="died", task="binary", classes=("no", "yes"))


def table(**columns):
    return Table(columns={name: np.array(cells, dtype=object) for name, cells in columns.items()})


def one(column, cells, *, target=BINARY, targets=None):
    schema = Schema(columns=(column,), target=target)
    return encode(table(**{column.name: cells, "died": targets or ["no"] * len(cells)}), schema)


def test_every_kind_of_column_is_encoded_in_the_schemas_order():
    schema = Schema(
        columns=(
            Column(name="age", kind="number", center=50.0, scale=10.0, fill=60.0, missing_flag=True),
            Column(name="sex", kind="category", categories=("f", "m")),
            Column(name="pain", kind="category", categories=("low", "high"), fill="high", missing_flag=True),
        ),
        target=BINARY,
    )
    encoded = encode(
        table(pain=["low", "", "high"], age=["45", "", "50"], sex=["f", "m", ""], died=["no", "yes", "no"]), schema
    )
    assert schema.feature_names == ("age", "age missing", "sex=f", "sex=m", "pain=low", "pain=high", "pain missing")
    assert encoded.features.tolist() == [
        [-0.5, 0, 1, 0, 1, 0, 0],
        [1.0, 1, 0, 1, 0, 1, 1],
        [0.0, 0, 0, 0, 0, 1, 0],
    ]
    assert encoded.targets.tolist() == [0, 1, 0]
    assert encoded.targets.dtype == np.float32


def test_a_missing_number_without_a_fill_is_the_centre_and_a_missing_category_all_zeros():
    assert one(Column(name="x", kind="number", center=7.0, scale=2.0), ["", "9"]).features.tolist() == [[0], [1]]
    assert one(Column(name="x", kind="category", categories=("a", "b")), [""]).features.tolist() == [[0, 0]]


def test_a_listed_spelling_counts_as_missing_even_outside_the_range():
    chol = Column(name="chol", kind="number", center=200.0, low=50.0, missing_values=("0", "?"), missing_flag=True)
    assert one(chol, ["0", "?", "201"]).features.tolist() == [[0, 1], [0, 1], [1, 0]]


def test_a_multiclass_target_is_the_place_of_its_class():
    target = Target(name="died", task="multiclass", classes=("c", "a", "b"))
    encoded = one(Column(name="x", kind="number"), ["1"] * 3, target=target, targets=["a", "b", "c"])
    assert encoded.targets.tolist() == [1, 2, 0]
    assert encoded.targets.dtype == np.int64


def test_a_numeric_target_is_scaled():
    target = Target(name="died", task="number", center=10.0, scale=4.0)
    encoded = one(Column(name="x", kind="number"), ["1", "1"], target=target, targets=["12", "2"])
    assert encoded.targets.tolist() == [0.5, -2.0]


@pytest.mark.parametrize(
    ("column", "cells", "words"),
    [
        (Column(name="x", kind="category", categories=("a",)), ["a", "b"], "record 2 is none of its categories"),
        (Column(name="x", kind="number"), ["1", "", "4,5"], "record 3 is no number"),
        (Column(name="x", kind="number"), ["1_0"], "record 1 is no number"),
        (Column(name="x", kind="number"), ["1", "nan"], "record 2 is not finite"),
        (Column(name="x", kind="number"), ["", "-inf"], "record 2 is not finite"),
        (Column(name="x", kind="number", low=0.0), ["1", "-1"], "record 2 is outside its range; expected 0 to inf"),
        (Column(name="x", kind="number", high=9.0), ["9.01"], "record 1 is outside its range; expected -inf to 9"),
        (Column(name="x", kind="number", scale=1e-300), ["1e300"], "record 1 is too large once scaled"),
    ],
)
def test_a_cell_that_does_not_fit_is_refused_by_column_and_record(column, cells, words):
    with pytest.raises(DataError, match=f"column 'x' of {words}"):
        one(column, cells)


@pytest.mark.parametrize(
    ("target", "targets", "words"),
    [
        (BINARY, ["no", ""], "target 'died' of record 2 is missing"),
        (BINARY, ["no", "maybe"], "target 'died' of record 2 is none of its classes; expected one of: no, yes"),
        (Target(name="died", task="number"), ["1", "x"], "column 'died' of record 2 is no number"),
        (Target(name="died", task="number"), ["inf", "1"], "column 'died' of record 1 is not finite"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(target, targets, words):
    with pytest.raises(DataError, match=words):
        one(Column(name="x", kind="number"), ["1", "2"], target=target, targets=targets)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (Column(name="x", kind="category", categories=("a",)), "4711"),
        (Column(name="x", kind="number", high=9.0), "4711"),
        (Column(name="x", kind="number"), "p4711"),
    ],
)
def test_a_refusal_never_repeats_the_value(column, value):
    with pytest.raises(DataError) as refused:
        one(column, [value])
    assert "4711" not in str(refused.value)


def test_a_column_the_table_lacks_is_refused():
    with pytest.raises(DataError, match="no column 'y'"):
        encode(table(x=["1"], died=["no"]), Schema(columns=(Column(name="y", kind="number"),), target=BINARY))


@given(st.lists(st.one_of(st.just(""), st.floats(-1e6, 1e6).map(repr)), min_size=1, max_size=30), st.randoms())
def test_a_records_numbers_depend_on_that_record_only(cells, random):
    column = Column(name="x", kind="number", center=3.0, scale=7.0, missing_flag=True)
    order = random.sample(range(len(cells)), len(cells))
    whole = one(column, cells).features
    assert np.array_equal(one(column, [cells[n] for n in order]).features, whole[order])


@given(
    st.lists(st.tuples(*[st.floats(-(2.0**99), 2.0**99, width=32)] * 3), min_size=1, max_size=20),
    st.floats(1e-3, 1e3),
)
def test_scaled_rows_are_within_the_bound_point_the_same_way_and_short_ones_stay(rows, max_norm):
    features = np.array(rows, dtype=np.float32)
    scaled = scale_rows(features, max_norm)
    norms = np.linalg.norm(features.astype(np.float64), axis=1)
    assert scaled.dtype == np.float32
    assert (np.linalg.norm(scaled.astype(np.float64), axis=1) <= max_norm * (1 + 1e-6)).all()
    assert np.array_equal(scaled[norms <= max_norm], features[norms <= max_norm])
    long = norms > max_norm
    expected = features[long] * (max_norm / norms[long, np.newaxis])
    assert np.allclose(scaled[long], expected, rtol=1e-5, atol=1e-6 * max_norm)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, np.nan, np.inf])
def test_a_bound_on_rows_that_is_no_positive_number_is_refused(max_norm):
    with pytest.raises(InvalidValue, match="max_norm"):
        scale_rows(np.ones((1, 1), np.float32), max_norm)
