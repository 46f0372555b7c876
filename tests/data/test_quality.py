"""Quality reports: exact for the holder, and nothing small in what leaves."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.cli.quality_table import quality_table
from fedjoint.data.quality import cell_counts, cell_names, check_quality, counts_sensitivity, suppress
from fedjoint.data.records import Table
from fedjoint.errors import InvalidValue
from fedjoint.privacy.noise import NoiseSource
from fedjoint.training.quality_release import release_quality

SCHEMA = Schema(
    columns=(
        Column(name="age", kind="number", low=0.0, high=120.0, missing_values=("?",)),
        Column(name="sex", kind="category", categories=("f", "m"), missing_flag=True),
    ),
    target=Target(name="ill", task="binary", classes=("no", "yes")),
)


def table(**columns):
    return Table(columns={name: np.array(cells, dtype=object) for name, cells in columns.items()})


RECORDS = table(
    age=["61", "?", "610", "old", "20"],
    sex=["f", "m", "x", "", "f"],
    ill=["no", "yes", "no", "no", "yes"],
    note=["a"] * 5,
)


def test_every_column_is_compared_with_the_schema_and_the_first_wrong_record_named():
    report = check_quality(RECORDS, SCHEMA)
    age, sex, ill = report.columns
    assert (age.present, age.missing, age.wrong, age.first_wrong) == (4, 1, 2, 3)
    assert (age.low, age.high) == (20.0, 610.0)
    assert (sex.missing, sex.wrong, sex.first_wrong, sex.counts) == (1, 1, 3, {"f": 2, "m": 1})
    assert (ill.counts, ill.fits) == ({"no": 3, "yes": 2}, True)
    assert report.unused == ("note",) and not report.fits


def test_records_that_fit_do_and_a_missing_target_or_column_does_not():
    good = {"age": ["61", ""], "sex": ["f", "m"], "ill": ["no", "yes"]}
    assert check_quality(table(**good), SCHEMA).fits
    assert not check_quality(table(**good | {"ill": ["no", ""]}), SCHEMA).fits
    without = check_quality(table(age=["61"], ill=["no"]), SCHEMA)
    assert not without.fits and not without.columns[1].is_there


def test_a_numeric_target_is_checked_as_a_number():
    schema = Schema(columns=SCHEMA.columns, target=Target(name="cost", task="number"))
    report = check_quality(table(age=["1"], sex=["f"], cost=["a"]), schema)
    assert report.columns[-1].wrong == 1


def test_the_table_says_what_is_wrong_where():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(quality_table(check_quality(RECORDS, SCHEMA)))
    shown = console.export_text()
    assert "5 records: do not fit the schema" in shown and "20 to 610" in shown and "f 2, m 1" in shown
    console.print(quality_table(check_quality(table(age=["61"], ill=["no"]), SCHEMA)))
    assert "not there" in console.export_text()


@given(counts=st.lists(st.integers(-20, 200), min_size=1, max_size=8))
def test_no_small_cell_is_shown_and_none_can_be_worked_out_from_the_total(counts):
    shown = suppress(counts)
    assert all(count is None or count == 0 or count >= 10 for count in shown)
    hidden = [place for place, count in enumerate(shown) if count is None]
    assert len(hidden) != 1 or len(counts) == 1
    assert all(shown[place] == max(0, counts[place]) for place in range(len(counts)) if place not in hidden)


@given(places=st.lists(st.tuples(st.sampled_from(["61", ""]), st.sampled_from(["f", "m", ""])), min_size=2, max_size=9))
def test_one_record_changes_the_cells_by_no_more_than_the_sensitivity(places):
    def counts(some):
        ages, sexes = zip(*some, strict=True)
        return cell_counts(check_quality(table(age=ages, sex=sexes, ill=["no"] * len(some)), SCHEMA), SCHEMA)

    assert np.linalg.norm(counts(places) - counts(places[1:])) <= counts_sensitivity(SCHEMA) + 1e-12


def test_what_leaves_is_noisy_has_no_small_cell_and_its_line_in_the_account():
    many = table(age=["50"] * 500, sex=["f"] * 300 + ["m"] * 195 + [""] * 5, ill=["no"] * 500)
    report = check_quality(many, SCHEMA)
    shared = release_quality(report, SCHEMA, noise_multiplier=1.0, noise=NoiseSource.secure())
    assert tuple(shared.counts) == cell_names(SCHEMA) == ("age missing", "sex missing", "sex=f", "sex=m")
    assert shared.noise_sd == pytest.approx(2**0.5, rel=0.05)  # one cell in each of two columns
    assert (shared.release.purpose, shared.release.event.noise_multiplier) == ("statistics", 1.0)
    assert all(count is None or count == 0 or count >= 10 for count in shared.counts.values())
    drawn = [
        release_quality(report, SCHEMA, noise_multiplier=1.0, noise=NoiseSource.secure()).counts["sex=f"]
        for _ in range(200)
    ]
    assert np.mean(drawn) == pytest.approx(300, abs=6.5 * shared.noise_sd / 200**0.5) and np.std(drawn) > 0.8
    with pytest.raises(InvalidValue, match="noise_multiplier"):
        release_quality(report, SCHEMA, noise_multiplier=0.0, noise=NoiseSource.secure())
