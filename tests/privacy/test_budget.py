import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import BudgetExhausted, PrivacyError
from fedjoint.privacy.accounting import epsilon_of, rounds_affordable
from fedjoint.privacy.budget import RunBudget
from fedjoint.privacy.events import GaussianEvent

STEP = GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0)


def test_a_budget_counts_all_rounds_where_a_fresh_accountant_a_round_would_see_one():
    budget = RunBudget(epsilon=3.0, delta=1e-5)
    for _ in range(20):
        budget.spend(STEP)
    one_round = RunBudget(epsilon=3.0, delta=1e-5)
    one_round.spend(STEP)
    assert budget.epsilon == epsilon_of((GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=20),), 1e-5)
    assert budget.epsilon > 4 * one_round.epsilon


def test_a_run_stops_after_exactly_the_rounds_it_can_afford():
    budget, rounds = RunBudget(epsilon=1.0, delta=1e-5), 0
    with pytest.raises(BudgetExhausted):
        for rounds in range(10_000):  # noqa: B007
            budget.spend(STEP)
    assert rounds == rounds_affordable(STEP, epsilon=1.0, delta=1e-5) > 0


@given(st.lists(st.sampled_from([5.0, 10.0, 40.0]), max_size=40))
def test_the_limit_holds_whatever_is_asked(noises):
    budget = RunBudget(epsilon=1.5, delta=1e-5)
    for noise in noises:
        before = budget.events
        try:
            budget.spend(GaussianEvent(sampling_rate=1.0, noise_multiplier=noise))
        except BudgetExhausted:
            assert budget.events == before
        assert budget.epsilon <= budget.limit == 1.5


def test_checking_charges_nothing():
    budget = RunBudget(epsilon=3.0, delta=1e-5)
    budget.check(STEP)
    assert (budget.events, budget.epsilon) == ((), 0.0)


def test_the_refusal_says_what_is_spent_what_is_next_what_the_limit_is_and_what_to_do():
    budget = RunBudget(epsilon=1.0, delta=1e-5, events=(GaussianEvent(sampling_rate=1.0, noise_multiplier=20.0),))
    with pytest.raises(BudgetExhausted) as refusal:
        budget.check(GaussianEvent(sampling_rate=1.0, noise_multiplier=2.0))
    text = str(refusal.value)
    for part in (f"{budget.epsilon:.4g} of 1 is spent", "after 1 steps", "delta 1e-05", "bring it to", "Stop here"):
        assert part in text
    assert refusal.value.code == "privacy.budget_exhausted"


def test_a_budget_taken_up_again_remembers_what_was_spent():
    first = RunBudget(epsilon=3.0, delta=1e-5)
    first.spend(STEP)
    again = RunBudget(epsilon=3.0, delta=1e-5, events=first.events)
    assert (again.epsilon, again.events, again.delta) == (first.epsilon, first.events, 1e-5)


def test_a_budget_overspent_already_is_refused():
    with pytest.raises(BudgetExhausted):
        RunBudget(epsilon=0.1, delta=1e-5, events=(STEP,))


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 1e-5), (float("inf"), 1e-5), (1.0, 0.0), (1.0, 1.0)])
def test_a_budget_without_a_meaning_is_refused(epsilon, delta):
    with pytest.raises(PrivacyError):
        RunBudget(epsilon=epsilon, delta=delta)
