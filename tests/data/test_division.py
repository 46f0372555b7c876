import dataclasses

import numpy as np
import pytest

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.division import divide
from fedjoint.data.records import Table
from fedjoint.errors import DataError


def dataset(holders, targets, *, task="binary"):
    """Records whose only feature is their number, so that each can be recognised after the division."""
    number = np.array([str(n) for n in range(len(holders))], dtype=object)
    target = {
        "binary": Target(name="y", task="binary", classes=("0", "1")),
        "number": Target(name="y", task="number"),
    }[task]
    return Dataset(
        name="made up",
        table=Table(columns={"n": number, "y": np.array(targets, dtype=object)}),
        holder_of=np.array(holders, dtype=object),
        schema=Schema(columns=(Column(name="n", kind="number"),), target=target),
    )


def numbers(examples):
    return set(examples.features[:, 0].astype(int).tolist())


def test_every_record_of_a_kept_holder_is_in_one_set_and_those_left_out_in_none():
    holders = ["North Clinic"] * 30 + ["South"] * 30 + ["Tiny"] * 3
    made = dataset(holders, ["0", "1", "1"] * 21)
    division = divide(made, reference_fraction=0.34, minimum_examples=10, seed=5)
    north, south = division.holders
    assert [(h.id, h.name, len(h.examples)) for h in division.holders] == [
        ("north-clinic", "North Clinic", 20),
        ("south", "South", 20),
    ]
    sets = [numbers(north.examples), numbers(south.examples), numbers(division.reference)]
    assert sum(map(len, sets)) == 60
    assert set.union(*sets) == set(range(60))
    assert sets[0] < set(range(30))
    assert sets[1] < set(range(30, 60))
    for number, holder in zip(division.reference.features[:, 0], division.reference_holder_of, strict=True):
        assert holder == ("north-clinic" if number < 30 else "south")
    (tiny,) = division.left_out
    assert (tiny.id, tiny.name) == ("tiny", "Tiny")
    assert "fewer than 10" in tiny.reason
    assert division.one_class == ()


def test_the_division_is_the_same_for_the_same_seed():
    made = dataset(["A"] * 30 + ["B"] * 30, ["0", "1"] * 30)
    hashes = [
        divide(made, reference_fraction=0.34, minimum_examples=1, seed=seed).reference.sha256() for seed in (1, 1, 2)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_numeric_target_is_divided_by_holder():
    made = dataset(["A"] * 10 + ["B"] * 10, [str(n / 7) for n in range(20)], task="number")
    division = divide(made, reference_fraction=0.3, minimum_examples=1, seed=0)
    assert [len(h.examples) for h in division.holders] == [7, 7]
    assert division.one_class == ()


def test_a_holder_of_one_class_takes_part_and_is_listed():
    made = dataset(["A"] * 10 + ["B"] * 10, ["1"] * 10 + ["0", "1"] * 5)
    assert divide(made, reference_fraction=0.3, minimum_examples=1, seed=0).one_class == ("a",)


def test_a_reference_set_that_is_empty_or_of_one_class_is_refused():
    made = dataset(["A"] * 4 + ["B"] * 4, ["0", "1"] * 4)
    with pytest.raises(DataError, match="reference set is empty"):
        divide(made, reference_fraction=0.1, minimum_examples=1, seed=0)
    made = dataset(["A"] * 10 + ["B"] * 10, ["1"] + ["0"] * 19)
    with pytest.raises(DataError, match="one class only"):
        divide(made, reference_fraction=0.2, minimum_examples=1, seed=0)


def test_no_patient_is_on_both_sides_and_the_reference_set_is_a_fraction_of_the_patients():
    stays = [1 + number % 5 for number in range(120)]  # of each patient
    patients = [f"p{number}" for number, count in enumerate(stays) for _ in range(count)]
    holders = [f"H{int(patient[1:]) % 2}" for patient in patients]
    targets = [str(int(int(patient[1:]) % 4 == 0)) for patient in patients]
    made = dataclasses.replace(dataset(holders, targets), patient_of=np.array(patients, dtype=object))
    division = divide(made, reference_fraction=0.25, minimum_examples=10, seed=3)
    sides = [{patients[n] for n in numbers(h.examples)} for h in division.holders]
    held_out = {patients[n] for n in numbers(division.reference)}
    assert len(held_out) == 30
    assert not held_out & (sides[0] | sides[1])
    assert sum(map(len, sides)) == 90 == sum(h.examples.num_units("patient") for h in division.holders)
    assert sum(len(h.examples) for h in division.holders) + len(division.reference) == len(patients)
    for held in division.holders:  # equal groups mark one patient
        named = [patients[n] for n in held.examples.features[:, 0].astype(int)]
        assert len(set(zip(named, held.examples.groups.tolist(), strict=True))) == len(set(named))
