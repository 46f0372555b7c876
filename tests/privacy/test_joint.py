"""Mode ``joint``: its plan, its shares and what its releases cost."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import EncryptionTerms, PrivacyTerms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.models.tasks import task_of
from fedjoint.privacy.accounting import delta_of_gaussian, epsilon_of
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.clipped_sum import clipped_gradient_sum
from fedjoint.privacy.discrete_gaussian import discrete_gaussian
from fedjoint.privacy.events import GaussianEvent, Release, costs, costs_if_opened
from fedjoint.privacy.joint_plan import JointPlan, coarsest_step, noise_bound
from fedjoint.privacy.joint_share import noisy_share
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.receipts import RoundReceipt, check_releases
from fedjoint.privacy.releases import epsilon_if_opened, itemised, releases_of, round_release, worst_case
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, LOCAL_PRIVACY, make_consortium

TERMS = make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION).terms
PLAN = JointPlan.of(TERMS)
LOSS = task_of("binary").per_example_loss


def shares(holders, rounds, plan=PLAN):
    """Shares of holders with no signal at all: [rounds, holders, D + 2]."""
    nobody = Batch(features=np.zeros((0, 3), dtype=np.float32), targets=np.zeros(0, dtype=np.float32))
    source = NoiseSource.secure()
    made = [
        noisy_share(torch.nn.Linear(3, 1), nobody, per_example_loss=LOSS, plan=plan, noise=source)
        for _ in range(rounds * holders)
    ]
    return np.array(made).reshape(rounds, holders, -1)


@pytest.mark.parametrize(
    ("holders", "colluders"), [(3, 0), (2, 0), (3, 1), (2, 1)], ids=["all", "minimum", "all less t", "minimum less t"]
)
def test_the_noise_of_a_sum_is_that_of_the_shares_nobody_can_subtract(holders, colluders):
    rounds = 300
    noise = shares(holders, rounds)[:, colluders:, :4].sum(axis=1)
    of_one_record = PLAN.clip_norm / PLAN.step + 4**0.5  # rounding the sum adds a step a coordinate
    multiplier = noise.std() / of_one_record
    wanted = JOINT_PRIVACY.noise_multiplier * (holders - colluders) ** 0.5
    assert multiplier == pytest.approx(wanted, rel=6.5 / (2 * noise.size) ** 0.5 + 1e-3)  # false alarms in 1e10 runs
    assert round_release(TERMS).event.noise_multiplier <= wanted * (1 + 1e-12)


def test_a_share_is_the_clipped_sum_downhill_on_the_grid_plus_noise():
    consortium = make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION)
    records, module = consortium.records["ahus"], torch.nn.Linear(3, 1)
    batch, source = Batch(features=records.features, targets=records.targets), NoiseSource.secure()
    exact = clipped_gradient_sum(module, batch, per_example_loss=LOSS, clip_norm=PLAN.clip_norm).total.numpy()
    drawn = np.array([noisy_share(module, batch, per_example_loss=LOSS, plan=PLAN, noise=source) for _ in range(400)])
    mean = drawn.mean(axis=0)
    assert len(mean) == 4 + 2
    assert drawn[:, 4:].std() == pytest.approx(PLAN.contribution_sd, rel=6.5 / (2 * 2 * 400) ** 0.5)
    assert mean[:4] * PLAN.step == pytest.approx(-exact, abs=6.5 * PLAN.share_sd * PLAN.step / 400**0.5 + PLAN.step)
    assert mean[4:] == pytest.approx(0.0, abs=6.5 * PLAN.contribution_sd / 400**0.5)


def test_a_poisson_sample_is_drawn_record_by_record():
    plan = replace(PLAN, sampling_rate=0.25, noise_multiplier=0.03)  # hardly any noise, so that the sample shows
    batch = Batch(features=np.zeros((400, 3), dtype=np.float32), targets=np.zeros(400, dtype=np.float32))
    module = torch.nn.Linear(3, 1)
    torch.nn.init.constant_(module.bias, 9.0)
    torch.nn.init.zeros_(module.weight)
    drawn = [
        -noisy_share(module, batch, per_example_loss=LOSS, plan=plan, noise=NoiseSource.secure())[3]
        * plan.step
        / min(plan.clip_norm, 1.0)
        for _ in range(200)
    ]
    assert np.mean(drawn) == pytest.approx(100, abs=6.5 * (75 / 200) ** 0.5 + 1)
    assert np.std(drawn) == pytest.approx(75**0.5, rel=0.4)


def test_noise_is_never_cut_off_within_the_stated_probability():
    bound = noise_bound(PLAN, JOINT_PRIVACY, largest_holder=40)
    deviations = (bound - 40 * PLAN.clip_norm) / (PLAN.step * max(PLAN.share_sd, PLAN.contribution_sd))
    failure = 6 * 3 * 3 * 2 * np.exp(-(deviations**2) / 2)
    assert failure * (1 + np.exp(JOINT_PRIVACY.epsilon_if_opened)) <= 1e-3 * JOINT_PRIVACY.delta * 1.1
    assert agreed_parameters(TERMS).bound >= bound


def test_the_weight_of_a_contributions_noise_leaves_no_residue():
    assert 4 * PLAN.largest_weight_norm <= PLAN.contribution_sd


@given(
    rounds=st.integers(1, 1000),
    holders=st.integers(2, 200),
    noise=st.floats(0.5, 100),
    blur=st.floats(0.5, 100),
)
def test_a_contributions_noise_and_its_updates_own_cover_what_one_record_can_change_in_all_rounds(
    rounds, holders, noise, blur
):
    plan = replace(
        PLAN, rounds=rounds, num_holders=holders, noise_multiplier=noise, contributions_noise_multiplier=blur
    )
    shift = plan.sensitivity * (rounds * (1 - 1 / holders)) ** 0.5  # for weights of norm 1 in every round
    assert np.hypot(plan.contribution_sd, plan.share_sd) >= blur * shift
    assert plan.contribution_sd >= 200 * plan.num_parameters**0.5


def test_given_the_sums_the_contributions_of_honest_holders_vary_by_as_much_as_the_account_says():
    """The mechanism in small, with all that a coordinator and one colluder know taken out by regression."""
    rounds, weights, source = 20_000, np.array([3.0, -4.0, 0.0, 0.0]), NoiseSource.secure()
    parts = (
        (4, PLAN.share_sd),
        (2, PLAN.contribution_sd),
    )  # of each share of two honest holders, as the tests above find
    noise = np.concatenate(
        [discrete_gaussian(rounds * 2 * n, sd=sd, noise=source).reshape(rounds, 2, n) for n, sd in parts], axis=2
    )
    values = noise[:, :, :4] @ weights + 5 * noise[:, :, 4] + noise[:, :, 5]
    known = np.column_stack([noise.sum(axis=1), np.ones(rounds)])  # the opened sums less the colluder's part
    left = values[:, 0] - known @ np.linalg.lstsq(known, values[:, 0], rcond=None)[0]
    of_one_record = PLAN.sensitivity * 5 * (1 - 1 / 2)
    least = (5 * np.hypot(PLAN.contribution_sd, PLAN.share_sd)) * (1 - 1 / 2) ** 0.5
    assert left.std() >= least * (1 - 6.5 / (2 * rounds) ** 0.5)
    # T rounds of such shifts against T independent such noises
    assert 3**0.5 * of_one_record / least <= 1 / JOINT_PRIVACY.contributions_noise_multiplier


def test_a_bound_that_cuts_noise_off_is_refused():
    narrow = replace(TERMS, encryption=EncryptionTerms(bound=45.0, value_bits=22))
    with pytest.raises(PrivacyError, match=r"encryption\.bound = 45"):
        JointPlan.of(narrow)


def test_a_grid_too_coarse_for_the_noise_is_refused():
    with pytest.raises(PrivacyError, match="a grid of"):
        replace(PLAN, step=1.01 * coarsest_step(PLAN.clip_norm, 4))
    with pytest.raises(PrivacyError, match="noise of 3 steps"):
        replace(PLAN, noise_multiplier=1e-3)


def test_the_ledger_charges_contributions_once_and_each_round_at_the_smallest_cohort():
    blur = GaussianEvent(sampling_rate=1.0, noise_multiplier=JOINT_PRIVACY.contributions_noise_multiplier)
    share = GaussianEvent(sampling_rate=1.0, noise_multiplier=JOINT_PRIVACY.noise_multiplier, count=3)
    assert releases_of(TERMS, 3) == (  # two holders at least, less one colluder
        Release(purpose="contributions", event=blur, if_opened=None),
        Release(purpose="training", event=share, if_opened=share),
    )
    without = replace(TERMS, privacy=replace(JOINT_PRIVACY, colluders=0))
    assert round_release(without).event.noise_multiplier == pytest.approx(JOINT_PRIVACY.noise_multiplier * 2**0.5)


def test_both_epsilons_are_those_of_the_closed_form():
    delta = JOINT_PRIVACY.delta * 0.999
    sum_and_contributions = (3 / JOINT_PRIVACY.noise_multiplier**2 + 1 / 9.0**2) ** 0.5
    assert delta_of_gaussian(sum_and_contributions, epsilon_of(costs(releases_of(TERMS, 3)), delta)) == pytest.approx(
        delta
    )
    share_alone = (3 / JOINT_PRIVACY.noise_multiplier**2) ** 0.5
    assert delta_of_gaussian(share_alone, epsilon_if_opened(TERMS, 3)) == pytest.approx(delta)


def receipt(steps, **changes):
    releases = releases_of(TERMS, steps)
    stated = {
        "releases": releases,
        "epsilon": epsilon_of(costs(releases), JOINT_PRIVACY.accounted_delta),
        "epsilon_if_opened": epsilon_if_opened(TERMS, steps),
    }
    return RoundReceipt(run_id="cd" * 16, holder="ahus", round=1, frame_sha256="ab" * 32, **stated | changes)


def test_a_receipt_with_both_costs_is_accepted():
    assert check_releases(receipt(1), TERMS, steps_before=0) == 1
    assert check_releases(receipt(3), TERMS, steps_before=1) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon_if_opened": None}, "if opened, states epsilon None"),
        ({"epsilon_if_opened": 0.1}, r"if opened, states epsilon 0\.1"),
        ({"epsilon": 0.1}, r"states epsilon 0\.1"),
        ({"releases": releases_of(TERMS, 1)[1:]}, "other releases than were agreed"),
    ],
)
def test_a_receipt_that_understates_a_cost_is_refused(changes, words):
    with pytest.raises(PrivacyError, match=words):
        check_releases(receipt(1, **changes), TERMS, steps_before=0)


def test_an_epsilon_if_opened_beyond_the_agreed_one_is_refused():
    strict = replace(TERMS, privacy=replace(JOINT_PRIVACY, epsilon_if_opened=0.5))
    with pytest.raises(PrivacyError, match=r"if opened, .* at most 0\.5"):
        check_releases(receipt(3), strict, steps_before=0)


def test_in_other_modes_no_epsilon_if_opened_may_be_stated():
    local = make_consortium(privacy=LOCAL_PRIVACY).terms
    releases = releases_of(local, 1)
    stated = receipt(1, releases=releases, epsilon=epsilon_of(costs(releases), LOCAL_PRIVACY.delta))
    with pytest.raises(PrivacyError, match="states an epsilon if opened"):
        check_releases(stated, local, steps_before=0)
    assert epsilon_if_opened(local, 1) is None


def test_without_privacy_nothing_is_released():
    plain = make_consortium(privacy=PrivacyTerms(mode="none")).terms
    assert releases_of(plain, 3) == ()
    assert round_release(plain) is None
    with pytest.raises(PrivacyError, match="nothing has an epsilon"):
        itemised(plain, ())


def test_the_account_names_each_purpose_and_the_whole_costs_less_than_its_parts():
    delta = JOINT_PRIVACY.accounted_delta
    training, contributions = itemised(TERMS, worst_case(TERMS))
    assert (training.purpose, training.count, contributions.purpose) == ("training", 3, "contributions")
    assert training.epsilon == training.epsilon_if_opened  # a share is what the sum is charged at here
    assert contributions.epsilon_if_opened is None
    whole = epsilon_of(costs(worst_case(TERMS)), delta)
    assert max(training.epsilon, contributions.epsilon) < whole < training.epsilon + contributions.epsilon


def test_a_release_is_as_many_whether_or_not_it_is_opened():
    one = GaussianEvent(sampling_rate=1.0, noise_multiplier=2.0)
    with pytest.raises(InvalidValue, match="1 releases for training would be 2"):
        Release(purpose="training", event=one, if_opened=replace(one, count=2))
    assert costs_if_opened([Release(purpose="contributions", event=one, if_opened=None)]) == ()
