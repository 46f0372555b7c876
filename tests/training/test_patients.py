"""The unit of privacy is a patient: many records each, clipped, sampled, counted and weighted as one."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.terms import PrivacyTerms
from fedjoint.data.records import Examples
from fedjoint.errors import AgreementError, DataError, InvalidValue
from fedjoint.models.vector import load_vector
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.noise import NoiseSource
from fedjoint.training.holder import Holder
from fedjoint.training.local_update import LocalTrainer, agreed_module
from tests.fakes import (
    ANYTHING,
    JOINT_ENCRYPTION,
    JOINT_PRIVACY,
    LOCAL_PRIVACY,
    make_consortium,
)
from tests.fakes import (
    examples as make_examples,
)

#: 30 records of 9 patients at "bern": the first has 10, the others 2 or 3.
GROUPS = np.array([0] * 10 + [1 + n % 8 for n in range(20)])
SIZES = {"ahus": 40, "bern": 9, "cork": 20}
FAINT = {"noise_multiplier": 1e-3, "epsilon": 1e6}


def terms_of(privacy, **agreed):
    """An agreement that certifies nine units at bern, and bern's thirty records."""
    parties = make_consortium(SIZES, privacy=replace(privacy, unit="record"), **agreed)
    thirty = make_examples(30, seed=2)
    examples = Examples(features=thirty.features, targets=thirty.targets, groups=GROUPS)
    return replace(parties, terms=replace(parties.terms, privacy=privacy)), examples


def by_hand(terms, model, examples, groups):
    """Each patient's gradients summed, then clipped, then summed: one at a time, in numpy."""
    total = np.zeros(4)
    for patient in np.unique(groups):
        rows = groups == patient
        inputs = np.column_stack([examples.features[rows].astype(float), np.ones(rows.sum())])
        gradient = inputs.T @ (1 / (1 + np.exp(-inputs @ model)) - examples.targets[rows])
        total += gradient * min(1.0, terms.privacy.clip_norm / np.linalg.norm(gradient))
    return total


@pytest.mark.parametrize("unit", ["record", "patient"])
def test_a_joint_share_is_the_sum_of_clipped_units_made_by_hand(unit):
    privacy = replace(JOINT_PRIVACY, unit=unit, clip_norm=0.7)
    parties, examples = terms_of(privacy, encryption=JOINT_ENCRYPTION)
    terms, model = parties.terms, np.array([0.3, -0.2, 0.5, 0.1], dtype=np.float32)
    trainer = LocalTrainer(terms=terms, holder_id="bern", examples=examples, noise=NoiseSource.secure())
    plan = JointPlan.of(terms)
    offset = parties.session.parameters.offset
    sums = [(trainer.levels(model, 1).astype(np.int64) - offset)[:4] * -plan.step for _ in range(300)]
    expected = by_hand(terms, model, examples, GROUPS if unit == "patient" else np.arange(30))
    error = plan.share_sd * plan.step / 300**0.5
    assert np.mean(sums, axis=0) == pytest.approx(expected, abs=6.5 * error)
    other = by_hand(terms, model, examples, np.arange(30) if unit == "patient" else GROUPS)
    assert np.abs(expected - other).max() > 20 * error  # so that the two units are told apart


@pytest.mark.parametrize("unit", ["record", "patient"])
def test_a_local_step_is_the_sum_of_clipped_units_over_their_certified_number(unit):
    privacy = replace(LOCAL_PRIVACY, unit=unit, clip_norm=0.7, **FAINT)
    parties, examples = terms_of(privacy, learning_rate=0.5)
    terms, model = parties.terms, np.array([0.3, -0.2, 0.5, 0.1], dtype=np.float32)
    trainer = LocalTrainer(terms=terms, holder_id="bern", examples=examples, noise=NoiseSource.secure())
    expected = -0.5 * by_hand(terms, model, examples, GROUPS if unit == "patient" else np.arange(30)) / 9
    assert trainer.update(model, 1) == pytest.approx(expected, abs=1e-3)


def test_a_sample_takes_all_records_of_a_patient_or_none():
    privacy = replace(LOCAL_PRIVACY, unit="patient", clip_norm=100.0, **FAINT | {"noise_multiplier": 1e-6})
    parties, examples = terms_of(privacy, sampling_rate=0.5, learning_rate=1.0)
    terms, model = parties.terms, np.zeros(4, dtype=np.float32)
    trainer = LocalTrainer(terms=terms, holder_id="bern", examples=examples, noise=NoiseSource.secure())
    load_vector(agreed_module(terms), model)
    one = np.array(
        [by_hand(terms, model, examples.take(np.flatnonzero(g == GROUPS)), GROUPS[g == GROUPS]) for g in range(9)]
    )
    subsets = (np.arange(2**9)[:, None] >> np.arange(9)) & 1
    possible = -(subsets @ one) / (0.5 * 9)
    for number in range(1, 6):
        update = trainer.update(model, number)
        assert np.abs(possible - update).max(axis=1).min() < 1e-3


def test_a_holder_certifies_patients_where_they_are_the_unit():
    parties, examples = terms_of(replace(LOCAL_PRIVACY, unit="patient"))
    holder = Holder(parties.identities["bern"], examples, ANYTHING)
    assert holder.sign(parties.terms)
    by_record = replace(parties.terms, privacy=LOCAL_PRIVACY)
    with pytest.raises(AgreementError, match="certifies 9 examples of 'bern', which has another number"):
        holder.sign(by_record)


def test_a_holder_that_does_not_know_its_patients_signs_no_such_terms():
    parties, examples = terms_of(replace(LOCAL_PRIVACY, unit="patient"))
    holder = Holder(parties.identities["bern"], replace(examples, groups=None), ANYTHING)
    with pytest.raises(DataError, match="no column names the patient"):
        holder.sign(parties.terms)


def test_a_unit_without_privacy_is_refused():
    with pytest.raises(InvalidValue, match=r"privacy\.unit is set"):
        PrivacyTerms(mode="none", unit="patient")
