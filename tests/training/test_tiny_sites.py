"""Sites of thirty patients: samples that are often empty, and a budget that ends between two rounds."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import GaussianEvent
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, LOCAL_PRIVACY, complete, make_consortium

TINY = {"ahus": 30, "bern": 30, "cork": 30}
MODES = {"local": {"privacy": LOCAL_PRIVACY}, "joint": {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION}}


def cost(privacy, rounds, rate=1.0):
    """Epsilon of so many rounds, by hand: of two holders less a colluder one share is left, and contributions once."""
    events = [GaussianEvent(sampling_rate=rate, noise_multiplier=2.0, count=rounds)]
    if privacy.mode == "joint":
        events.append(GaussianEvent(sampling_rate=1.0, noise_multiplier=9.0))
    return epsilon_of(tuple(events), privacy.accounted_delta)


@pytest.mark.parametrize("mode", MODES)
def test_samples_that_are_empty_more_often_than_not_train_and_are_accounted_like_any_other(mode):
    # with a rate of 0.02 a site of thirty draws nobody in 55 rounds of 100; a step divides by 0.6, an expectation
    parties = make_consortium(TINY, rounds=6, sampling_rate=0.02, learning_rate=0.01, **MODES[mode])
    run = complete(parties)
    assert len(run.rounds) == 6
    assert np.isfinite(run.models[-1]).all()
    moves = np.diff(np.array(run.models), axis=0)
    assert (np.abs(moves).max(axis=1) > 0).all()  # noise is added to an empty sum too: who drew nobody does not show
    for receipt in run.rounds[-1].receipts.values():
        assert receipt.epsilon == pytest.approx(cost(parties.terms.privacy, 6, rate=0.02))


@pytest.mark.parametrize("mode", MODES)
def test_a_budget_that_ends_between_two_rounds_keeps_the_model_so_far_and_releases_nothing_of_the_next(mode):
    agreed = MODES[mode]
    limit = (cost(agreed["privacy"], 2) + cost(agreed["privacy"], 3)) / 2
    parties = make_consortium(TINY, rounds=4, **agreed | {"privacy": replace(agreed["privacy"], epsilon=limit)})
    run = complete(parties)
    assert len(run.rounds) == 2
    assert "round 3 was not trained" in run.coordinator.end
    for receipt in run.rounds[-1].receipts.values():
        assert receipt.epsilon == pytest.approx(cost(agreed["privacy"], 2))
    assert set(run.contributions.by_holder) == set(TINY)
