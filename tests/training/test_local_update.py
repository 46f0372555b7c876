from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.terms import ReleaseTerms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.update_noise import least_local_noise_sd
from fedjoint.training.local_update import LocalTrainer, agreed_module, agreed_task, expected_batch_size, noise_source
from tests.fakes import (
    JOINT_ENCRYPTION,
    JOINT_PRIVACY,
    LOCAL_PRIVACY,
    NO_PRIVACY,
    NUM_PARAMETERS,
    examples,
    make_consortium,
)


def trainer(records, holder="ahus", noise=None, **agreed):
    terms = make_consortium({"ahus": len(records), "bern": 30}, **agreed).terms
    return LocalTrainer(
        terms=terms, holder_id=holder, examples=records, noise=noise or noise_source(terms.privacy, holder)
    )


def logistic_gradient(records, model):
    """Mean gradient of the logistic loss by its textbook formula."""
    inputs = np.column_stack([records.features, np.ones(len(records))]).astype(np.float64)
    return inputs.T @ (1 / (1 + np.exp(-inputs @ model)) - records.targets) / len(records)


def test_without_privacy_an_update_is_gradient_descent_on_the_own_records():
    records, model = examples(40, seed=1), np.zeros(NUM_PARAMETERS, np.float32)
    expected = model.astype(np.float64)
    for _ in range(3):
        expected = expected - 0.5 * logistic_gradient(records, expected)
    update = trainer(records, local_steps=3, learning_rate=0.5).update(model, 1)
    assert update == pytest.approx(expected, abs=1e-6)


def test_the_certified_number_of_examples_is_the_divisor_even_where_fewer_were_drawn():
    half = trainer(examples(40, seed=1), sampling_rate=0.5)
    assert expected_batch_size(half.terms, half.holder_id) == 20.0
    whole = trainer(examples(40, seed=1))
    assert expected_batch_size(whole.terms, whole.holder_id) == 40.0


def test_without_privacy_the_same_round_gives_the_same_update_and_another_round_another_sample():
    one = trainer(examples(40, seed=1), sampling_rate=0.5, seed=4)
    model = np.zeros(NUM_PARAMETERS, np.float32)
    assert one.update(model, 1).tobytes() == one.update(model, 1).tobytes() != one.update(model, 2).tobytes()


def test_with_privacy_an_update_has_the_agreed_noise():
    private = trainer(examples(40, seed=1), privacy=LOCAL_PRIVACY, noise=NoiseSource.insecure(1, "a test"))
    model = np.zeros(NUM_PARAMETERS, np.float32)
    drawn = np.array([private.update(model, 1) for _ in range(200)])
    # learning rate 1, noise 2.0 times clip norm 1.0, divided by 40 expected records
    assert drawn.std(axis=0) == pytest.approx([2.0 / 40] * NUM_PARAMETERS, rel=0.2)


def test_noise_is_the_operating_systems_unless_the_agreement_says_insecurely_otherwise():
    assert noise_source(LOCAL_PRIVACY, "ahus").is_secure
    seeded = noise_source(type(LOCAL_PRIVACY)(**{**vars(LOCAL_PRIVACY), "insecure_seed": 7}), "ahus")
    assert not seeded.is_secure


def test_every_party_gets_the_agreed_start():
    terms = make_consortium(hidden=(5,), seed=3).terms
    starts = [[p.detach().numpy().tobytes() for p in agreed_module(terms).parameters()] for _ in range(2)]
    assert starts[0] == starts[1]
    assert agreed_task(terms) is agreed_task(terms)


def test_the_noise_of_a_weighted_update_is_the_one_that_fixed_point_is_chosen_for():
    privacy = replace(LOCAL_PRIVACY, noise_multiplier=200.0, insecure_seed=5)
    parties = make_consortium(privacy=privacy, hidden=(200,), local_steps=3)
    terms, stated = parties.terms, least_local_noise_sd(parties.terms)
    for holder in ("ahus", "cork"):
        noise = noise_source(privacy, holder)
        trainer = LocalTrainer(terms=terms, holder_id=holder, examples=parties.records[holder], noise=noise)
        weighted = trainer.update(parties.start, 1) * terms.weight(holder)
        assert weighted.std() == pytest.approx(stated, rel=0.1)  # 1,001 coordinates: four deviations
    assert least_local_noise_sd(replace(terms, privacy=NO_PRIVACY)) is None


def test_zeros_fill_up_a_ciphertext_before_the_noise_of_all_numbers_that_are_opened():
    joint = trainer(
        examples(40, seed=1),
        privacy=JOINT_PRIVACY,
        encryption=JOINT_ENCRYPTION,
        valuation={"error_numbers": 2},
        minimum_holders=2,
        releases=ReleaseTerms(held_out=0.2, metrics_noise_multiplier=1.0),
    )
    levels = [joint.levels(np.zeros(NUM_PARAMETERS, np.float32), number) for number in (1, 2)]
    offset = agreed_parameters(joint.terms).offset
    update, zeros, noise = np.split(np.array(levels).astype(np.int64) - offset, [4, 20 - 2 * (1 + 2)], axis=1)
    assert zeros.shape == (2, 10) and not zeros.any()
    assert (update != 0).sum() > 4 and (noise != 0).sum() > 8  # single zeros are drawn once in thousands
