import numpy as np
import pytest

from fedjoint.data.encode import encode
from fedjoint.data.infer import infer_schema
from fedjoint.data.records import Table
from fedjoint.errors import DataError


def table(num_rows=24, **columns):
    columns = {"y": ["0", "1"] * (num_rows // 2), "h": ["A", "A", "B"] * (num_rows // 3), **columns}
    return Table(columns={name: np.array(cells, dtype=object) for name, cells in columns.items()})


def infer(task=None, **columns):
    return infer_schema(table(**columns), target="y", holder="h", task=task)


def column(cells):
    schema = infer(x=cells)
    return schema.columns[0], schema.notes[1]


def test_a_number_is_scaled_by_its_rounded_mean_and_deviation_and_bounded_by_its_range():
    cells = [str(40 + n % 12) for n in range(24)]
    found, note = column(cells)
    values = np.array(cells, float)
    assert (found.kind, found.low, found.high) == ("number", 40.0, 51.0)
    assert (found.center, found.scale) == (round(values.mean(), 1), round(values.std(), 1)) == (45.5, 3.5)
    assert not found.missing_flag
    assert note == "Leak: center, scale and range of 'x' were read off all holders' records."


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_scaling_is_as_fine_as_the_numbers_need(factor):
    cells = [repr(factor * (n % 7)) for n in range(24)]
    found, _ = column(cells)
    values = np.array(cells, float)
    assert found.scale == pytest.approx(values.std(), rel=0.05)
    assert abs(found.center - values.mean()) < 0.05 * values.std()


def test_texts_become_categories_in_alphabetical_order():
    found, note = column(["low", "high", "mid"] * 8)
    assert (found.kind, found.categories, found.missing_flag) == ("category", ("high", "low", "mid"), False)
    assert "categories of 'x'" in note


def test_missing_values_in_any_known_spelling_get_a_flag_and_are_named():
    found, note = column(["1", "2", "?", "NA", "", "3"] * 4)
    assert (found.missing_flag, found.missing_values, found.fill) == (True, ("?", "NA"), found.center)
    assert "'?', 'NA' counted as missing" in note
    texts, _ = column(["a", "b", "", "a"] * 6)
    assert (texts.categories, texts.missing_flag) == (("a", "b"), True)


def test_one_value_or_nothing_is_a_category_without_a_flag():
    for value in ("5", "yes"):
        found, _ = column([value, ""] * 12)
        assert (found.kind, found.categories, found.missing_flag) == ("category", (value,), False)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (["same"] * 24, "one value only"),
        (["7"] * 24, "one value only"),
        ([""] * 24, "one value only"),
        ([f"patient {n}" for n in range(24)], "numbers or names the records"),
        ([str(1000 + n) for n in range(24)], "numbers or names the records"),
    ],
)
def test_a_constant_column_and_one_that_names_the_records_are_left_out_with_a_note(cells, why):
    schema = infer(x=cells, age=["1", "2"] * 12)
    assert [c.name for c in schema.columns] == ["age"]
    assert any("'x' was left out" in note and why in note for note in schema.notes)


def test_distinct_whole_numbers_are_left_out_only_if_the_name_says_id():
    cells = [str(n * n + 7) for n in range(24)]
    names = [c.name for c in infer(patient_id=cells, steps=cells, ID=cells, paid=cells).columns]
    assert names == ["steps", "paid"]


def test_distinct_measurements_are_numbers():
    assert column([repr(n + 0.5) for n in range(24)])[0].kind == "number"


def test_a_column_neither_number_nor_category_is_refused_with_the_remedy():
    cells = [str(n) for n in range(22)] + ["<5", "<5"]
    with pytest.raises(DataError, match=r"column 'x' is neither .* 2 of 24 cells are no numbers.*data.schema=FILE"):
        infer(x=cells)


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="column 'x' has a number that is not finite"):
        infer(x=["inf", "1"] * 12)


def test_numbers_too_large_to_scale_are_refused():
    with pytest.raises(DataError, match="too large or too close"):
        infer(x=["1e308", "-1e308", "0"] * 8)


@pytest.mark.parametrize(
    ("cells", "task", "classes"),
    [
        (["1", "0"] * 12, "binary", ("0", "1")),
        (["10", "9"] * 12, "binary", ("9", "10")),
        (["yes", "no"] * 12, "binary", ("no", "yes")),
        (["10", "9", "1"] * 8, "multiclass", ("1", "9", "10")),
        (["b", "c", "a"] * 8, "multiclass", ("a", "b", "c")),
        (["1.5", "2.5", "3.5"] * 8, "number", ()),
        ([str(n) for n in range(24)], "number", ()),
    ],
)
def test_the_task_is_guessed_from_the_targets_values(cells, task, classes):
    target = infer(y=cells, x=["1", "2"] * 12).target
    assert (target.task, target.classes) == (task, classes)


def test_the_positive_class_and_the_leaked_scale_of_the_target_are_named():
    assert "'1' is the positive class" in infer(x=["1", "2"] * 12).notes[0]
    numeric = infer(task="number", y=["1", "2", "6"] * 8, x=["1", "2"] * 12)
    assert (numeric.target.center, numeric.target.scale) == (3.0, 2.2)
    assert "center and scale of the target 'y'" in numeric.notes[0]


@pytest.mark.parametrize(
    ("cells", "task", "words"),
    [
        (["1"] * 24, None, "one class only"),
        (["1", ""] * 12, None, "missing in 12 of 24 records, first in record 2"),
        (["1", "NA"] * 12, None, "missing in 12 of 24"),
        ([f"t{n}" for n in range(24)], None, "24 distinct texts"),
        (["a", "b"] * 12, "number", "no finite numbers"),
        (["a", "b", "c"] * 8, "binary", "3 classes; expected 2, as task is binary"),
        (["a", "b"] * 12, "multiclass", "2 classes; expected 3 to 200"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(cells, task, words):
    with pytest.raises(DataError, match=words):
        infer(task=task, y=cells, x=["1", "2"] * 12)


def test_columns_that_are_absent_or_the_same_are_refused():
    some = table(x=["1", "2"] * 12)
    with pytest.raises(DataError, match="no column 'z'"):
        infer_schema(some, target="z", holder="h")
    with pytest.raises(DataError, match="no column 'z'"):
        infer_schema(some, target="y", holder="z")
    with pytest.raises(DataError, match="both 'y'"):
        infer_schema(some, target="y", holder="y")


def test_a_table_without_an_input_is_refused():
    with pytest.raises(DataError, match="no column is left as an input"):
        infer(x=["1"] * 24)


def test_what_was_inferred_encodes_every_record_it_was_inferred_from():
    rng = np.random.default_rng(0)
    numbers = [repr(float(v)) if v > -1 else "?" for v in rng.normal(size=24)]
    some = table(x=numbers, c=["a", "", "b"] * 8, k=["1", ""] * 12)
    schema = infer_schema(some, target="y", holder="h")
    encoded = encode(some, schema)
    assert (schema.origin, len(encoded), encoded.width) == ("inferred", 24, 6)
