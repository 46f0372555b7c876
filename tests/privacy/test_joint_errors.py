"""Mode ``joint`` where numbers for an error are opened beside a contribution: all for the price of the contribution."""

from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from math import ceil, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.encryption.parameters import MODULUS, agreed_parameters
from fedjoint.errors import PrivacyError
from fedjoint.models.tasks import task_of
from fedjoint.privacy import joint_plan
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.discrete_gaussian import discrete_gaussian
from fedjoint.privacy.events import costs
from fedjoint.privacy.joint_plan import JointPlan, noise_bound
from fedjoint.privacy.joint_share import noisy_share
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.releases import epsilon_if_opened, releases_of
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, make_consortium


def terms_with(error_numbers):
    valuation = {"error_numbers": error_numbers}
    return make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION, valuation=valuation).terms


TERMS = terms_with(2)
PLAN = JointPlan.of(TERMS)
ALONE = replace(PLAN, error_numbers=0)

numbers = st.integers(1, 16)
parts = st.fractions(Fraction(1, 100), 4, max_denominator=100)


def noise_weights(plan, norms):
    """Of a contribution and error numbers, whose weights are so long."""
    return [ceil(norms[0]), *(plan.error_noise_weight(ceil(norm)) for norm in norms[1:])]


def test_without_error_numbers_the_noise_is_what_it_always_was():
    assert JointPlan.of(terms_with(0)) == ALONE
    assert (ALONE.contribution_noises, ALONE.contribution_sd, ALONE.largest_weight_norm) == (2, 16501, 4125)
    assert replace(ALONE, contributions_noise_multiplier=100.0).contribution_sd == 185628
    assert noise_bound(ALONE, JOINT_PRIVACY, largest_holder=40) == pytest.approx(192.90717156209257, rel=1e-12)


@contextmanager
def costing(part):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(joint_plan, "ERRORS_PART", part)
        yield


@given(count=numbers, part=parts, blur=st.floats(0.5, 100))
def test_a_contribution_and_all_its_error_numbers_cost_what_the_contribution_alone_would(count, part, blur):
    alone = replace(ALONE, contributions_noise_multiplier=blur).contribution_sd
    plan = replace(PLAN, error_numbers=count, contributions_noise_multiplier=blur)
    with costing(part):
        sd, norm = plan.contribution_sd, plan.largest_error_norm
        weight = plan.error_noise_weight(norm)
    together = 1 / sd**2 + count * (norm / (sd * weight)) ** 2
    assert together**-0.5 >= alone - 1  # deviations are whole numbers
    assert sd <= alone * sqrt(1 + part) + 1


@given(count=numbers, part=parts, norm=st.integers(0, 1 << 62))
def test_an_error_numbers_noise_weighs_as_much_as_it_must_and_no_whole_number_more(count, part, norm):
    with costing(part):
        weight = replace(PLAN, error_numbers=count).error_noise_weight(norm)
    squared = Fraction(count) / part * norm**2
    assert weight**2 >= squared
    assert weight == 0 or (weight - 1) ** 2 < squared


@given(count=numbers, part=parts)
def test_the_longest_weights_of_an_error_number_leave_no_residue_and_longer_ones_are_not_allowed(count, part):
    plan = replace(PLAN, error_numbers=count)
    with costing(part):
        assert 4 * plan.error_noise_weight(plan.largest_error_norm) <= plan.contribution_sd
        assert plan.error_noise_weight(plan.largest_error_norm + 1) > plan.largest_weight_norm


def test_without_error_numbers_no_weight_is_short_enough_and_there_is_no_noise_for_one():
    assert ALONE.largest_error_norm == 0
    with pytest.raises(PrivacyError, match="a noise weight for an error number"):
        ALONE.error_noise_weight(1)


@given(
    holders=st.integers(2, 4),
    size=st.integers(1, 5),
    count=st.integers(0, 4),
    share_sd=st.floats(4, 1000),
    blur_sd=st.floats(200, 100_000),
    seed=st.integers(0, 2**32 - 1),
)
def test_given_the_sums_no_direction_of_a_rounds_numbers_shows_more_of_a_record_than_is_charged(
    holders, size, count, share_sd, blur_sd, seed
):
    """By linear algebra, with nothing taken from the written argument but its end."""
    drawn = np.random.default_rng(seed)
    scales = 10 ** drawn.uniform(0, 3, size=(count + 1, 1))
    weights = drawn.normal(size=(count + 1, size)) * scales
    if drawn.random() < 0.5:
        weights[:] = weights[0] * scales  # all in one direction, which costs the most
    norms = np.linalg.norm(weights, axis=1)
    of_noise = np.array(noise_weights(replace(PLAN, error_numbers=count), norms), dtype=float)
    # a holder's coordinates: its update, then all e, then all f
    sd = np.concatenate([np.full(size, share_sd), np.full(2 * (count + 1), blur_sd)])
    read = np.hstack([weights, np.diag(of_noise), np.eye(count + 1)])
    every, added = np.kron(np.eye(holders), read), np.kron(np.ones((1, holders)), np.eye(sd.size))
    covariance = np.diag(np.tile(sd**2, holders))
    gain = every @ covariance @ added.T @ np.linalg.inv(added @ covariance @ added.T)
    left = every @ covariance @ every.T - gain @ added @ covariance @ every.T
    # what a change of the first holder's update does to the numbers, and to what the sums make expect of them
    change = np.eye(sd.size * holders)[:, :size]
    shift = every @ change - gain @ added @ change
    sizes = np.tile(of_noise * blur_sd, holders)  # so that the inverse is taken of numbers near one
    seen, noise = shift / sizes[:, None], left / np.outer(sizes, sizes)
    most = np.linalg.eigvalsh(seen.T @ np.linalg.pinv(noise, rcond=1e-10, hermitian=True) @ seen)[-1]
    charged = 1 / np.sum((norms / (of_noise * blur_sd)) ** 2)
    assert most <= (1 - 1 / holders) / (share_sd**2 + charged) * (1 + 1e-6)
    assert charged >= blur_sd**2 / (1 + (joint_plan.ERRORS_PART if count else 0)) * (1 - 1e-12)


def test_given_the_sums_the_drawn_numbers_of_a_holder_vary_by_as_much_as_the_algebra_says():
    rounds, source = 20_000, NoiseSource.secure()
    weights = np.array([[30, -40, 0, 0], [3, 4, 0, 12], [-30, 40, 0, 0]]) * 10.0
    of_noise = np.array(noise_weights(PLAN, np.linalg.norm(weights, axis=1)))
    parts = ((4, PLAN.share_sd), (6, PLAN.contribution_sd))
    noise = np.concatenate(
        [discrete_gaussian(rounds * 2 * n, sd=sd, noise=source).reshape(rounds, 2, n) for n, sd in parts], axis=2
    )
    values = noise[:, 0, :4] @ weights.T + of_noise * noise[:, 0, 4::2] + noise[:, 0, 5::2]
    known = np.column_stack([noise.sum(axis=1), np.ones(rounds)])
    left = values - known @ np.linalg.lstsq(known, values, rcond=None)[0]
    least = (PLAN.share_sd**2 * weights @ weights.T + np.diag((PLAN.contribution_sd * of_noise) ** 2)) * (1 - 1 / 2)
    whitened = np.linalg.solve(np.linalg.cholesky(least), left.T)
    assert np.linalg.eigvalsh(whitened @ whitened.T / rounds) == pytest.approx(np.ones(3), abs=0.08)
    shifts = np.linalg.solve(np.linalg.cholesky(least), weights * PLAN.sensitivity * (1 - 1 / 2))
    # three rounds of the worst change of a record, against what the account charges
    assert 3**0.5 * np.linalg.norm(shifts, ord=2) <= 1 / JOINT_PRIVACY.contributions_noise_multiplier


def test_a_share_has_a_pair_of_noise_for_each_number_that_is_opened():
    nobody = Batch(features=np.zeros((0, 3), dtype=np.float32), targets=np.zeros(0, dtype=np.float32))
    loss, source = task_of("binary").per_example_loss, NoiseSource.secure()
    drawn = np.array(
        [noisy_share(torch.nn.Linear(3, 1), nobody, per_example_loss=loss, plan=PLAN, noise=source) for _ in range(400)]
    )
    assert drawn.shape == (400, 4 + 2 * (1 + 2)) == (400, TERMS.num_parameters + TERMS.contribution_noises)
    assert drawn[:, :4].std() == pytest.approx(PLAN.share_sd, rel=6.5 / (2 * 4 * 400) ** 0.5)
    for place in range(4, 10):
        assert drawn[:, place].std() == pytest.approx(PLAN.contribution_sd, rel=6.5 / (2 * 400) ** 0.5)
    assert np.corrcoef(drawn.T) == pytest.approx(np.eye(10), abs=6.5 / 400**0.5)


def test_the_bound_leaves_room_for_every_coordinate_of_wider_noise():
    bound = noise_bound(PLAN, JOINT_PRIVACY, largest_holder=40)
    deviations = (bound - 40 * PLAN.clip_norm) / (PLAN.step * PLAN.contribution_sd)
    failure = (4 + 6) * 3 * 3 * 2 * np.exp(-(deviations**2) / 2)
    assert failure * (1 + np.exp(JOINT_PRIVACY.epsilon_if_opened)) <= 1e-3 * JOINT_PRIVACY.delta * 1.1


def test_the_account_is_the_same_with_error_numbers_and_without():
    without = terms_with(0)
    assert releases_of(TERMS, 3) == releases_of(without, 3)
    assert epsilon_of(costs(releases_of(TERMS, 3)), 1e-3) == epsilon_of(costs(releases_of(without, 3)), 1e-3)
    assert epsilon_if_opened(TERMS, 3) == epsilon_if_opened(without, 3)


def test_what_blurs_a_contribution_grows_by_a_fifth_however_many_error_numbers_there_are():
    grown = {replace(PLAN, error_numbers=count).contribution_sd / ALONE.contribution_sd for count in (1, 8, 16)}
    assert len(grown) == 1
    assert grown.pop() == pytest.approx(1.5**0.5, rel=1e-4)  # 1.22


def test_the_largest_value_is_encrypted_without_rounding_so_that_leading_bits_tell_of_noise_and_of_nothing_else():
    parameters = agreed_parameters(TERMS)
    largest, modulus = parameters.levels - 1, parameters.plain_modulus
    assert (2 * MODULUS * largest + modulus) // (2 * modulus) == largest << (60 - parameters.plain_bits)
