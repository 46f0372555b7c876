"""What a simulation agrees on: noise that keeps both epsilons and wastes nothing of them."""

import pytest

from fedjoint.agreement.terms import TAILS_OF_DELTA
from fedjoint.config import load_config
from fedjoint.data.division import Division, HolderRecords
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import costs
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.releases import epsilon_if_opened, releases_of
from fedjoint.simulation.agreeing import bring_together, compose_terms
from fedjoint.simulation.simulate import prepare
from fedjoint.simulation.sizes import released_sizes


def terms_of(num_holders, *overrides):
    config = load_config(["data=breast_cancer", *overrides])
    made = prepare(load_config(["data=breast_cancer"]))
    many = tuple(
        HolderRecords(id=f"h{n}", name=f"H{n}", examples=made.division.holders[0].examples) for n in range(num_holders)
    )
    division = Division(
        holders=many,
        reference=made.division.reference,
        reference_holder_of=made.division.reference_holder_of,
        left_out=(),
        one_class=(),
    )
    sizes = released_sizes(config.privacy, division)
    parties = bring_together(division, observer=lambda *heard: None, sizes=sizes)
    return compose_terms(config, made.dataset, division, parties)


@pytest.mark.parametrize("holders", [2, 4, 16, 40])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_joint_noise_spends_the_whole_epsilon_and_no_more_than_the_other_one(holders, rate):
    terms = terms_of(holders, f"training.sampling_rate={rate}")
    privacy, rounds = terms.privacy, terms.training.rounds
    delta = privacy.delta * (1 - TAILS_OF_DELTA)
    assert 0.995 * privacy.epsilon <= epsilon_of(costs(releases_of(terms, rounds)), delta) <= privacy.epsilon
    assert epsilon_if_opened(terms, rounds) <= privacy.epsilon_if_opened


def test_where_the_share_is_large_for_its_own_sake_contributions_are_blurred_less():
    blurs = [terms_of(holders).privacy.contributions_noise_multiplier for holders in (4, 40)]
    assert blurs[1] < 0.8 * blurs[0]


def test_a_configured_blur_is_kept():
    terms = terms_of(40, "privacy.contributions_noise_multiplier=9")
    assert terms.privacy.contributions_noise_multiplier == 9


def test_error_numbers_are_agreed_at_the_same_epsilons_with_more_noise_for_all_that_is_opened_of_a_holder():
    alone, more = (terms_of(4, f"valuation.error_numbers={count}") for count in (0, 8))
    assert (alone.contribution_noises, more.contribution_noises) == (2, 18)
    assert more.privacy == alone.privacy
    assert more.encryption.bound > alone.encryption.bound
    assert JointPlan.of(more).error_numbers == 8  # which refuses what would cut noise off
    rounds = more.training.rounds
    assert releases_of(more, rounds) == releases_of(alone, rounds)
    assert epsilon_if_opened(more, rounds) == epsilon_if_opened(alone, rounds)
