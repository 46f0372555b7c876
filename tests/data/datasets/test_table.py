import os
from pathlib import Path

import pytest

from fedjoint.data.datasets.table import load_table
from fedjoint.data.division import divide
from fedjoint.data.schema_file import write_schema
from fedjoint.errors import DataError


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "patients.csv"
    rows = [f"{40 + n % 30},{'ab'[n % 2]},Clinic {n % 3},{n % 2}" for n in range(60)]
    path.write_text("age,kind,hospital,died\n" + "\n".join(rows) + "\n")
    return path


def test_a_table_is_inferred_and_says_so(csv):
    dataset = load_table(csv, holder="hospital", target="died")
    assert (dataset.name, dataset.schema.origin, dataset.schema.width) == ("patients", "inferred", 3)
    assert "inferred from all holders' records" in dataset.notes[0]
    assert sorted(set(dataset.holder_of)) == ["Clinic 0", "Clinic 1", "Clinic 2"]


def test_an_inferred_schema_written_edited_and_given_back_replaces_inference(csv, tmp_path):
    path = tmp_path / "schema.yaml"
    write_schema(load_table(csv, holder="hospital", target="died").schema, path)
    path.write_text(path.read_text().replace("origin: inferred", "origin: declared").replace("low: 40.0", "low: 18.0"))
    dataset = load_table(csv, holder="hospital", target="died", schema_path=path)
    assert (dataset.schema.origin, dataset.schema.columns[0].low) == ("declared", 18.0)
    assert dataset.notes == ("The schema is schema.yaml, not inferred.",)


def test_a_task_overrides_the_guess_but_not_a_schema_file(csv, tmp_path):
    schema = load_table(csv, holder="hospital", target="died", task="number").schema
    assert schema.target.task == "number"
    write_schema(schema, tmp_path / "s.yaml")
    with pytest.raises(DataError, match="task 'binary' is given beside a schema file"):
        load_table(csv, holder="hospital", target="died", schema_path=tmp_path / "s.yaml", task="binary")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("name: died", "name: dead", "target is 'dead'; expected 'died'"),
        ("name: age", "name: aged", "no column 'aged'.*Did you mean 'age'"),
        ("name: age", "name: hospital", "uses the holder column 'hospital'"),
    ],
)
def test_a_schema_file_for_another_table_is_refused(csv, tmp_path, before, after, words):
    path = tmp_path / "s.yaml"
    write_schema(load_table(csv, holder="hospital", target="died").schema, path)
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(DataError, match=words):
        load_table(csv, holder="hospital", target="died", schema_path=path)


def test_a_record_without_a_holder_and_a_wrong_holder_column_are_refused(csv):
    with pytest.raises(DataError, match="no column 'clinic'"):
        load_table(csv, holder="clinic", target="died")
    csv.write_text(csv.read_text().replace("Clinic 1", "", 1))
    with pytest.raises(DataError, match="record 2 has no holder"):
        load_table(csv, holder="hospital", target="died")


@pytest.mark.skipif("FEDJOINT_DATA" not in os.environ, reason="FEDJOINT_DATA does not name a folder with medpar.csv")
def test_54_hospitals_of_medicare_stays_are_read_and_the_small_ones_left_out():
    path = Path(os.environ["FEDJOINT_DATA"], "medpar-54-hospitals", "medpar.csv")
    dataset = load_table(path, holder="provnum", target="died")
    assert dataset.table.num_rows == 1495
    assert len(set(dataset.holder_of)) == 54
    assert dataset.schema.target.classes == ("0", "1")
    division = divide(dataset, reference_fraction=0.34, minimum_examples=10, seed=0)
    assert len(division.holders) + len(division.left_out) == 54
    assert all(len(holder.examples) >= 10 for holder in division.holders)
    assert division.left_out
    assert all("fewer than 10" in left.reason for left in division.left_out)
    assert {holder.id for holder in division.holders} == set(division.reference_holder_of)


def test_the_patient_column_says_whose_records_are_whose_and_is_no_input(csv, tmp_path):
    lines = csv.read_text().splitlines()
    csv.write_text("\n".join([lines[0] + ",patient", *(f"{line},p{n // 6}" for n, line in enumerate(lines[1:]))]))
    with pytest.raises(DataError, match="two holders"):
        load_table(csv, holder="hospital", target="died", patient="patient")
    csv.write_text("\n".join([lines[0] + ",patient", *(f"{line},p{n % 15}" for n, line in enumerate(lines[1:]))]))
    dataset = load_table(csv, holder="hospital", target="died", patient="patient")
    assert [column.name for column in dataset.schema.columns] == ["age", "kind"]
    assert len(set(dataset.patient_of)) == 15
    with pytest.raises(DataError, match=r"data\.patient is 'died' too"):
        load_table(csv, holder="hospital", target="died", patient="died")
    write_schema(load_table(csv, holder="hospital", target="died").schema, tmp_path / "s.yaml")
    with pytest.raises(DataError, match="uses the patient column 'age'"):
        load_table(csv, holder="hospital", target="died", patient="age", schema_path=tmp_path / "s.yaml")
