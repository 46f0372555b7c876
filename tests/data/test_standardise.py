"""Centre and scale from noisy sums: exact without noise, bounded sensitivity, harmless with much noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.release_terms import statistics_length
from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.encode import encode
from fedjoint.data.records import Table
from fedjoint.data.standardise import standardise, statistics_of, statistics_sensitivity
from fedjoint.errors import DataError

SCHEMA = Schema(
    columns=(
        Column(name="age", kind="number", low=0.0, high=100.0, center=40.0, scale=20.0),
        Column(name="chol", kind="number", low=50.0, high=650.0, center=200.0, scale=50.0, missing_flag=True),
        Column(name="sex", kind="category", categories=("f", "m"), fill="f", missing_flag=True),
    ),
    target=Target(name="ill", task="binary", classes=("no", "yes")),
)
SEXES = st.sampled_from(["f", "m", ""])
RECORD = st.tuples(st.floats(0, 100), st.none() | st.floats(50, 650), SEXES)


def examples(records):
    cells = {
        "age": [str(age) for age, _, _ in records],
        "chol": ["" if chol is None else str(chol) for _, chol, _ in records],
        "sex": [sex for *_, sex in records],
        "ill": ["yes"] * len(records),
    }
    return encode(Table(columns={name: np.array(values, dtype=object) for name, values in cells.items()}), SCHEMA)


RECORDS = [(20.0, 200.0, "f"), (60.0, None, "m"), (70.0, 300.0, ""), (50.0, 250.0, "m")]


def test_without_noise_the_statistics_are_those_of_the_records():
    sums = statistics_of(examples(RECORDS), SCHEMA)
    assert len(sums) == statistics_length(SCHEMA) == 2 + 3 + 3
    age, chol, sex = standardise(sums, SCHEMA, num_examples=4).columns
    assert (age.mean, age.sd) == (pytest.approx(50.0), pytest.approx(np.std([20, 60, 70, 50])))
    assert (chol.mean, chol.sd) == (pytest.approx(250.0), pytest.approx(np.std([200, 300, 250])))
    assert sex.mean is None


def test_no_small_cell_is_among_them_nor_one_from_which_it_could_be_worked_out():
    few = standardise(statistics_of(examples(RECORDS), SCHEMA), SCHEMA, num_examples=4).columns
    assert [(column.missing, column.counts) for column in few] == [(None, ()), (None, ()), (None, (None, None))]
    many = [*RECORDS * 12, *[(30.0, None, "f")] * 9]
    _, chol, sex = standardise(statistics_of(examples(many), SCHEMA), SCHEMA, num_examples=len(many)).columns
    assert (chol.missing, sex.missing, sex.counts) == (21, 12, (21, 24))
    one_small = [(30.0, 200.0, "f")] * 40 + [(30.0, 200.0, "m")] * 20 + [(30.0, None, "")] * 9
    _, chol, sex = standardise(statistics_of(examples(one_small), SCHEMA), SCHEMA, num_examples=69).columns
    assert (chol.missing, sex.missing, sex.counts) == (None, None, (40, None))


def test_standardised_numbers_have_mean_0_and_deviation_1_and_missing_ones_are_the_centre():
    encoded = examples(RECORDS)
    found = standardise(statistics_of(encoded, SCHEMA), SCHEMA, num_examples=4).apply(encoded, SCHEMA)
    age, chol = found.features[:, 0], found.features[:, 1]
    assert (age.mean(), age.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))
    assert chol[1] == 0 and chol[[0, 2, 3]].mean() == pytest.approx(0, abs=1e-6)
    assert (found.features[:, 2:] == encoded.features[:, 2:]).all() and (found.targets == encoded.targets).all()


@given(records=st.lists(RECORD, min_size=1, max_size=5), more=RECORD)
def test_one_record_more_changes_the_sums_by_no_more_than_the_sensitivity(records, more):
    before, after = statistics_of(examples(records), SCHEMA), statistics_of(examples([*records, more]), SCHEMA)
    assert np.linalg.norm(after - before) <= statistics_sensitivity(SCHEMA) + 1e-9


@given(noise=st.integers(0, 2**32 - 1), size=st.floats(0, 1e6))
def test_however_large_the_noise_numbers_are_scaled_within_the_public_range(noise, size):
    sums = np.random.default_rng(noise).normal(scale=size + 1e-9, size=statistics_length(SCHEMA))
    found = standardise(sums, SCHEMA, num_examples=4)
    for column, read in zip(SCHEMA.columns[:2], found.columns[:2], strict=True):
        assert column.low <= read.mean <= column.high
        assert 0 < read.sd <= (column.high - column.low) / 2 * (1 + 1e-9)
    assert all(count in (0, None) for count in found.columns[2].counts)  # of four records any count is small


def test_another_number_of_sums_another_width_and_a_number_without_a_range_are_refused():
    sums = statistics_of(examples(RECORDS), SCHEMA)
    with pytest.raises(DataError, match="7 statistics; expected 8"):
        standardise(sums[1:], SCHEMA, num_examples=4)
    narrow = replace(SCHEMA, columns=SCHEMA.columns[:1])
    with pytest.raises(DataError, match="records of width 6; expected 1"):
        standardise(sums[:2], narrow, num_examples=4).apply(examples(RECORDS), narrow)
    unbounded = replace(SCHEMA, columns=(replace(SCHEMA.columns[0], high=None), *SCHEMA.columns[1:]))
    with pytest.raises(DataError, match="'age' has no public range"):
        statistics_of(examples(RECORDS), unbounded)
