import numpy as np
import pytest

from fedjoint.data.records import Examples, Table
from fedjoint.errors import DataError


def cells(*values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def examples(features, targets, *, targets_type=np.float32):
    return Examples(features=np.array(features, np.float32), targets=np.array(targets, targets_type))


def test_a_table_gives_records_by_index_in_that_order():
    table = Table(columns={"age": cells("61", "47", ""), "sex": cells("f", "m", "f")})
    taken = table.take(np.array([2, 0]))
    assert taken.column("age").tolist() == ["", "61"]
    assert taken.column("sex").tolist() == ["f", "f"]
    assert (taken.num_rows, taken.names) == (2, ("age", "sex"))


def test_a_column_that_is_absent_is_refused_with_the_nearest_name():
    table = Table(columns={"age": cells("61"), "died": cells("no")})
    with pytest.raises(DataError, match=r"no column 'agee'; expected one of: age, died\. Did you mean 'age'"):
        table.column("agee")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "no column"),
        ({"age": cells()}, "no record"),
        ({"age": cells("1", "2"), "sex": cells("f")}, r"column 'sex' has shape \(1,\)"),
        ({"age": cells("1", None)}, "no text"),
        ({"age": cells("1", 2.0)}, "no text"),
    ],
)
def test_what_is_no_table_of_text_is_refused(columns, words):
    with pytest.raises(DataError, match=words):
        Table(columns=columns)


def test_examples_know_their_length_and_width_and_give_records_by_index():
    some = examples([[1, 2], [3, 4], [5, 6]], [0, 1, 1])
    taken = some.take(np.array([2, 0]))
    assert (len(some), some.width) == (3, 2)
    assert taken.features.tolist() == [[5, 6], [1, 2]]
    assert taken.targets.tolist() == [1, 0]


def test_an_empty_set_of_examples_has_a_width():
    assert (len(examples(np.zeros((0, 3)), [])), examples(np.zeros((0, 3)), []).width) == (0, 3)


@pytest.mark.parametrize(
    ("features", "targets", "words"),
    [
        (np.zeros(3, np.float32), np.zeros(3, np.float32), "features of shape"),
        (np.zeros((3, 0), np.float32), np.zeros(3, np.float32), "features of shape"),
        (np.zeros((3, 2)), np.zeros(3, np.float32), "type float64"),
        (np.zeros((3, 2), np.float32), np.zeros(2, np.float32), "targets of shape"),
        (np.zeros((3, 2), np.float32), np.zeros(3), "type float64"),
        (np.full((3, 2), np.nan, np.float32), np.zeros(3, np.float32), "not finite"),
        (np.zeros((3, 2), np.float32), np.array([0, np.inf, 1], np.float32), "not finite"),
    ],
)
def test_numbers_of_another_shape_or_type_or_not_finite_are_refused(features, targets, words):
    with pytest.raises(DataError, match=words):
        Examples(features=features, targets=targets)


def test_the_commitment_changes_with_any_value_order_shape_or_type():
    base = examples([[1, 2], [3, 4]], [0, 1])
    others = [
        examples([[1, 2], [3, 5]], [0, 1]),
        examples([[1, 2], [3, 4]], [1, 1]),
        examples([[3, 4], [1, 2]], [1, 0]),
        examples([[1], [2]], [0, 1]),
        examples([[1, 2], [3, 4]], [0, 1], targets_type=np.int64),
    ]
    assert base.sha256() == examples([[1, 2], [3, 4]], [0, 1]).sha256()
    assert len({base.sha256(), *(other.sha256() for other in others)}) == 6


def test_the_commitment_does_not_depend_on_how_the_array_lies_in_memory():
    features = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    targets = np.zeros(2, np.float32)
    fortran = Examples(features=features, targets=targets)
    assert fortran.sha256() == Examples(features=np.ascontiguousarray(features), targets=targets).sha256()
