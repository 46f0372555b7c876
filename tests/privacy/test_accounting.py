import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.privacy.accounting import (
    delta_of_gaussian,
    epsilon_of,
    is_within,
    noise_multiplier_for,
    rounds_affordable,
)
from fedjoint.privacy.events import GaussianEvent

# name, sampling rate, noise multiplier, steps, delta, epsilon by dp-accounting's PLD at a fine discretisation
GOLDEN = [
    ("n300_b32_e50_s1.0", 0.10666666666666667, 1.0, 469, 1e-3, 12.971596168131212),
    ("n300_b32_e50_s1.0_d5", 0.10666666666666667, 1.0, 469, 1e-5, 17.202868568891645),
    ("n300_b32_e50_s2.0", 0.10666666666666667, 2.0, 469, 1e-5, 5.773156320124999),
    ("n300_full_T50_s10", 1.0, 10.0, 50, 1e-5, 2.9432252399516963),
    ("n120_b32_r20x4_s3", 0.26666666666666666, 3.0, 80, 1e-4, 3.1119021280919896),
    ("n5000_b256_e10_s1.5", 0.0512, 1.5, 196, 1e-5, 2.38599004233123),
    ("n60000_b256_e15_s1.1", 0.004266666666666667, 1.1, 3516, 1e-5, 1.1338750993054267),
    ("n300_gauss_T1_s5", 1.0, 5.0, 1, 1e-5, 0.7255217509689307),
]


def event(rate, noise, count=1):
    return GaussianEvent(sampling_rate=rate, noise_multiplier=noise, count=count)


@pytest.mark.parametrize(("name", "rate", "noise", "steps", "delta", "golden"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_epsilon_agrees_with_the_golden_table(name, rate, noise, steps, delta, golden):
    epsilon = epsilon_of((event(rate, noise, steps),), delta)
    assert golden * (1 - 1e-3) <= epsilon <= golden * 1.02
    assert epsilon == pytest.approx(golden, rel=3e-4)  # what is really reached


@pytest.mark.parametrize("mu", [0.05, 0.7, 3.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 4.0])
def test_delta_of_gaussian_is_the_integral_that_defines_it(mu, epsilon):
    def excess(x):
        return max(norm.pdf(x, loc=mu) - math.exp(epsilon) * norm.pdf(x), 0.0)

    start = epsilon / mu + mu / 2  # where the two densities cross
    integral, _ = quad(excess, start, start + 12, epsabs=1e-14, limit=200)
    assert delta_of_gaussian(mu, epsilon) == pytest.approx(integral, rel=1e-7, abs=1e-13)


@settings(max_examples=200)
@given(noise=st.floats(1e-3, 1e4), count=st.integers(1, 10**6), exponent=st.floats(-12, -0.01))
def test_epsilon_of_full_batches_is_the_least_that_satisfies_delta(noise, count, exponent):
    delta, mu = 10**exponent, math.sqrt(count) / noise
    epsilon = epsilon_of((event(1.0, noise, count),), delta)
    assert epsilon >= 0
    if mu < 1e3:  # beyond, one unit in the last place of epsilon moves delta visibly
        assert delta_of_gaussian(mu, epsilon) <= delta * (1 + 1e-7)
        assert epsilon == 0 or delta_of_gaussian(mu, epsilon * (1 - 1e-9)) >= delta * (1 - 1e-7)


def test_nothing_released_costs_nothing():
    assert epsilon_of((), 1e-5) == 0


def test_noise_so_great_that_delta_covers_it_costs_nothing():
    assert epsilon_of((event(1.0, 1e6),), 1e-5) == 0


def test_the_order_and_the_grouping_of_events_do_not_matter():
    parts = (event(0.2, 2.0, 3), event(1.0, 9.0, 2), event(0.2, 2.0, 4))
    whole = (event(1.0, 9.0, 2), event(0.2, 2.0, 7))
    assert epsilon_of(parts, 1e-5) == epsilon_of(whole, 1e-5)


def test_full_batches_of_different_noise_compose_as_gaussians():
    # 1/3² + 1/4² = 1/2.4²
    assert epsilon_of((event(1.0, 3.0), event(1.0, 4.0)), 1e-5) == pytest.approx(
        epsilon_of((event(1.0, 2.4),), 1e-5), rel=1e-9
    )


def test_a_mixed_ledger_costs_more_than_each_part_and_less_than_their_sum():
    sampled, full = (event(0.1, 1.5, 100),), (event(1.0, 10.0, 10),)
    both = epsilon_of(sampled + full, 1e-5)
    parts = [epsilon_of(sampled, 1e-5), epsilon_of(full, 1e-5)]
    assert max(parts) < both < sum(parts)


def test_more_steps_cost_more_and_sampling_costs_less():
    costs = [epsilon_of((event(0.3, 3.0, steps),), 1e-5) for steps in (1, 10, 20, 40)]
    assert costs == sorted(costs)
    assert costs[-1] < epsilon_of((event(1.0, 3.0, 40),), 1e-5)


def test_a_sampling_rate_next_to_one_costs_as_much_as_a_full_batch():
    assert epsilon_of((event(1 - 1e-9, 5.0, 20),), 1e-5) == pytest.approx(
        epsilon_of((event(1.0, 5.0, 20),), 1e-5), rel=1e-3
    )


@pytest.mark.parametrize(
    "ledger",
    [
        (event(0.1, 1e-6, 10**9),),
        (event(0.5, 0.3, 10**6),),
        (event(1.0, 1e-6, 10), event(0.1, 1.0, 10)),
    ],
)
def test_absurd_plans_are_priced_at_once_and_too_high_rather_than_too_low(ledger):
    start = time.perf_counter()
    assert 1e3 < epsilon_of(ledger, 1e-5) < math.inf
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, 2.0, float("nan")])
def test_a_delta_outside_zero_to_one_is_refused_everywhere(delta):
    for ask in (
        lambda: epsilon_of((event(1.0, 1.0),), delta),
        lambda: noise_multiplier_for(1.0, delta, sampling_rate=1.0, steps=1),
        lambda: rounds_affordable(event(1.0, 1.0), epsilon=1.0, delta=delta),
    ):
        with pytest.raises(PrivacyError, match="delta"):
            ask()


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("inf"), float("nan")])
def test_an_epsilon_that_is_no_limit_is_refused(epsilon):
    with pytest.raises(PrivacyError, match="epsilon"):
        noise_multiplier_for(epsilon, 1e-5, sampling_rate=1.0, steps=1)
    with pytest.raises(PrivacyError, match="epsilon"):
        rounds_affordable(event(1.0, 1.0), epsilon=epsilon, delta=1e-5)


@settings(max_examples=50)
@given(epsilon=st.floats(0.05, 50), steps=st.integers(1, 10_000), exponent=st.floats(-9, -2))
def test_the_noise_found_meets_epsilon_and_little_less_does_not(epsilon, steps, exponent):
    delta = 10**exponent
    noise = noise_multiplier_for(epsilon, delta, sampling_rate=1.0, steps=steps)
    assert epsilon_of((event(1.0, noise, steps),), delta) <= epsilon
    assert epsilon_of((event(1.0, noise * (1 - 1e-6), steps),), delta) > epsilon


@pytest.mark.parametrize(("rate", "steps", "epsilon"), [(0.1, 400, 3.0), (0.5, 20, 1.0)])
def test_the_noise_found_for_sampled_steps_meets_epsilon_closely(rate, steps, epsilon):
    noise = noise_multiplier_for(epsilon, 1e-5, sampling_rate=rate, steps=steps)
    assert epsilon * 0.995 < epsilon_of((event(rate, noise, steps),), 1e-5) <= epsilon


def test_an_epsilon_that_no_noise_reaches_is_refused():
    with pytest.raises(PrivacyError, match="above 1e6"):
        noise_multiplier_for(1e-9, 1e-15, sampling_rate=1.0, steps=10_000)


def test_the_noise_for_an_impossible_plan_is_refused():
    with pytest.raises(InvalidValue, match="count"):
        noise_multiplier_for(1.0, 1e-5, sampling_rate=1.0, steps=0)
    with pytest.raises(InvalidValue, match="sampling_rate"):
        noise_multiplier_for(1.0, 1e-5, sampling_rate=1.5, steps=1)


@pytest.mark.parametrize("step", [event(1.0, 10.0), event(1.0, 40.0, 3), event(0.2, 3.0, 2)])
def test_the_rounds_affordable_fit_and_one_more_does_not(step):
    rounds = rounds_affordable(step, epsilon=2.0, delta=1e-5)
    assert rounds > 0
    assert epsilon_of((step,) * rounds, 1e-5) <= 2.0 < epsilon_of((step,) * (rounds + 1), 1e-5)


def test_what_was_spent_leaves_fewer_rounds():
    step = event(1.0, 10.0)
    all_rounds = rounds_affordable(step, epsilon=2.0, delta=1e-5)
    assert rounds_affordable(step, epsilon=2.0, delta=1e-5, spent=(event(1.0, 10.0, 7),)) == all_rounds - 7


def test_a_limit_too_small_for_a_single_round_affords_none():
    assert rounds_affordable(event(1.0, 1.0), epsilon=0.1, delta=1e-5) == 0


def test_rounds_that_cost_nothing_are_counted_up_to_the_limit_of_a_ledger():
    assert rounds_affordable(event(1.0, 1e6, 10**6), epsilon=1e3, delta=1e-5) == 1000


def test_asking_before_every_round_of_four_holders_takes_no_time():
    start = time.perf_counter()
    for holder in range(4):
        for rounds in range(1, 41):
            epsilon_of((event(1.0, 9.0 + holder, rounds),), 1e-5)
    assert time.perf_counter() - start < 0.5


def test_asking_before_every_sampled_round_takes_a_few_seconds_at_most():
    start = time.perf_counter()
    costs = [[epsilon_of((event(0.25, 3.0, rounds),), 1e-5) for rounds in range(1, 41)] for _ in range(4)]
    assert time.perf_counter() - start < 6
    assert np.all(np.diff(costs[0]) > 0)


def test_accounting_loads_no_torch_and_says_nothing():
    program = (
        "import sys; from fedjoint.privacy import accounting, budget, events, local_plan;"
        "step = events.GaussianEvent(sampling_rate=0.2, noise_multiplier=2.0, count=50);"
        "assert 0 < accounting.epsilon_of((step,), 1e-5) < 10; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@given(noise=st.floats(0.5, 200), count=st.integers(1, 3000), limit=st.floats(0.01, 50))
def test_whether_a_ledger_is_within_a_limit_is_what_its_epsilon_says(noise, count, limit):
    events = (GaussianEvent(sampling_rate=1.0, noise_multiplier=noise, count=count),)
    exact = epsilon_of(events, 1e-5)
    assert is_within(events, epsilon=limit, delta=1e-5) == (exact <= limit)
    if exact > 0:
        assert is_within(events, epsilon=exact, delta=1e-5)  # a calibrated plan costs exactly its limit
        assert not is_within(events, epsilon=exact * (1 - 1e-9), delta=1e-5)


def test_a_sampled_ledger_is_within_a_limit_that_only_sampling_makes_it_keep():
    events = (GaussianEvent(sampling_rate=0.1, noise_multiplier=2.0, count=50),)
    cost = epsilon_of(events, 1e-5)
    assert is_within(events, epsilon=cost, delta=1e-5) and not is_within(events, epsilon=0.99 * cost, delta=1e-5)
    assert is_within((), epsilon=1.0, delta=1e-5)


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta"), [(0.1, 2.0, 200, 1e-5), (0.02, 1.1, 500, 1e-5), (0.5, 6.0, 40, 1e-4)]
)
def test_the_number_reported_is_that_of_another_librarys_numerical_composition(rate, noise, steps, delta):
    from opacus.accountants import PRVAccountant

    other = PRVAccountant()
    other.history = [(noise, rate, steps)]
    theirs = other.get_epsilon(delta, eps_error=0.01)  # above the truth, by twice its error at most
    ours = epsilon_of((GaussianEvent(sampling_rate=rate, noise_multiplier=noise, count=steps),), delta)
    assert theirs - 0.02 <= ours <= theirs + 1e-3 * ours
