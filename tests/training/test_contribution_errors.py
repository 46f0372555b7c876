"""The stated error by privacy noise against the noise itself."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.update_noise import update_noise_sd
from fedjoint.training.aggregate import step_rate
from fedjoint.training.local_update import LocalTrainer
from fedjoint.valuation.aumann_shapley import path_gradient
from tests.fakes import (
    JOINT_ENCRYPTION,
    JOINT_PRIVACY,
    LOCAL_PRIVACY,
    NO_PRIVACY,
    complete,
    gone,
    in_round,
    make_consortium,
)

LOCAL = replace(LOCAL_PRIVACY, noise_multiplier=8.0, insecure_seed=1)
DRAWS = 150


@pytest.mark.parametrize(
    "agreed",
    [
        {"privacy": LOCAL},
        {"privacy": LOCAL, "local_steps": 4, "learning_rate": 0.3},
        {"privacy": LOCAL, "local_steps": 4, "learning_rate": 0.3, "proximal": 1.0},
        {"privacy": LOCAL, "sampling_rate": 0.5},
        {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION},
    ],
    ids=["local", "several steps", "proximal steps", "Poisson samples", "joint"],
)
def test_the_noise_of_an_update_has_the_stated_deviation(agreed):
    """Updates of one holder from one model, drawn again and again: 600 numbers, so 3 % of statistical error."""
    parties = make_consortium(**agreed)
    terms, parameters = parties.terms, parties.session.parameters
    trainer = LocalTrainer(
        terms=terms, holder_id="bern", examples=parties.records["bern"], noise=NoiseSource.insecure(7, "bern")
    )
    drawn = [dequantise_sum(trainer.levels(parties.start, 1), 1, parameters)[:4] for _ in range(DRAWS)]
    spread = float(np.sqrt(np.var(drawn, axis=0, ddof=1).mean()))
    # a Poisson sample adds a spread of its own, of records and not of noise: a few percent here
    assert update_noise_sd(terms, "bern") == pytest.approx(spread, rel=0.09)


def test_without_privacy_there_is_no_noise():
    parties = make_consortium(privacy=NO_PRIVACY)
    assert update_noise_sd(parties.terms, "bern") == 0.0
    assert complete(parties).contributions.noise_errors == dict.fromkeys(parties.holders, 0.0)


def by_hand(parties, run, holder):
    total = 0.0
    for before, after, holders in zip(run.models, run.models[1:], run.contributors, strict=False):
        g = path_gradient(parties.reference.gradient, before.astype(float), after.astype(float), points=4)
        if holder in holders:
            total += float(np.linalg.norm(g * step_rate(parties.terms, holders)) ** 2)
    return update_noise_sd(parties.terms, holder) * np.sqrt(total)


def test_a_contribution_errs_by_the_noise_of_its_rounds_along_the_path():
    parties = make_consortium(privacy=LOCAL, rounds=4)
    run = complete(parties, reachable=gone("bern", when=in_round(2)))
    errors = run.contributions.noise_errors
    assert errors == pytest.approx({holder: by_hand(parties, run, holder) for holder in errors}, rel=1e-3)
    assert errors["bern"] < errors["ahus"] == pytest.approx(errors["cork"])
    assert run.facts("contributions.opened")[0]["noise_errors"] == errors


def test_in_mode_joint_the_noise_for_the_contribution_is_counted_too():
    parties = make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION, rounds=4)
    run = complete(parties)
    for holder, error in run.contributions.noise_errors.items():
        assert error > 1.2 * by_hand(parties, run, holder)


def test_contributions_of_runs_that_differ_in_noise_only_spread_as_stated():
    """Whole runs, noise drawn anew: what the noise did to the path adds nothing that shows."""
    found, stated = [], []
    for seed in range(40):
        parties = make_consortium({"ahus": 40, "bern": 30}, privacy=replace(LOCAL, insecure_seed=seed), rounds=1)
        contributions = complete(parties).contributions
        found.append(list(contributions.by_holder.values()))
        stated.append(list(contributions.noise_errors.values()))
    # 80 numbers: 8 % of statistical error
    assert np.sqrt(np.mean(np.square(stated))) == pytest.approx(np.sqrt(np.var(found, axis=0).mean()), rel=0.25)
