import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.privacy.accounting import delta_of_gaussian, epsilon_of
from fedjoint.privacy.events import GaussianEvent
from fedjoint.privacy.lifetime import (
    LifetimeBudget,
    binding_measure,
    epsilon_left,
    fits,
    gdp_limit,
    lifetime_budget,
    rdp_cost,
    rdp_limit,
    rdp_order,
    runs_left,
    statement,
)

#: A tabular run: 40 full-batch steps at noise multiplier 40.
RUN = (GaussianEvent(sampling_rate=1.0, noise_multiplier=40.0, count=40),)
SAMPLED = (GaussianEvent(sampling_rate=0.1, noise_multiplier=2.0, count=100),)
FILTERS = ["either", "gdp", "rdp"]
events = st.builds(
    GaussianEvent,
    sampling_rate=st.sampled_from([0.01, 0.1, 0.5, 1.0]),
    noise_multiplier=st.sampled_from([1.0, 3.0, 10.0, 40.0]),
    count=st.integers(1, 50),
)
ledgers = st.lists(events, max_size=6).map(tuple)


@pytest.mark.parametrize(("epsilon", "mu"), [(1.0, 0.2681), (3.0, 0.7191), (8.0, 1.6660)])
def test_the_gdp_limit_is_the_published_one_and_the_greatest_that_holds(epsilon, mu):
    limit = gdp_limit(epsilon, 1e-5)
    assert limit == pytest.approx(mu, abs=5e-5)
    assert delta_of_gaussian(limit, epsilon) <= 1e-5 < delta_of_gaussian(limit * (1 + 1e-9), epsilon)


@pytest.mark.parametrize(("filter_name", "runs"), [("gdp", 111), ("rdp", 98), ("either", 105)])
def test_a_lifetime_of_eight_holds_so_many_tabular_runs_where_adding_epsilons_gives_fourteen(filter_name, runs):
    budget = lifetime_budget(8.0, 1e-5, filter_name=filter_name)
    assert runs_left(budget, (), RUN) == runs
    assert fits(budget, RUN * runs) and not fits(budget, RUN * (runs + 1))
    assert int(8.0 / epsilon_of(RUN, 1e-5)) == 14


def test_the_gdp_filter_is_exact_for_full_batches():
    assert epsilon_of(RUN * 111, 1e-5) <= 8.0 < epsilon_of(RUN * 112, 1e-5)


@pytest.mark.parametrize(("epsilon", "older"), [(1.0, 24.5), (3.0, 9.1), (8.0, 4.3)])
def test_the_order_fits_at_least_as_many_runs_as_the_formula_for_the_older_conversion(epsilon, older):
    root = math.sqrt(math.log(1e5))
    formula = 1 + root / (math.sqrt(epsilon + root**2) - root)
    assert formula == pytest.approx(older, abs=0.05)
    order = rdp_order(epsilon, 1e-5)

    def capacity(of):
        return rdp_limit(of, epsilon=epsilon, delta=1e-5) / of

    assert capacity(order) >= max(capacity(formula), capacity(order * 1.01), capacity(order * 0.99))


@pytest.mark.parametrize("order", [2, 5, 18])
@pytest.mark.parametrize(("rate", "noise"), [(0.1, 1.0), (0.25, 3.0), (0.9, 0.5), (0.004, 1.1)])
def test_the_renyi_cost_of_sampling_is_the_closed_form_at_whole_orders(order, rate, noise):
    terms = [
        math.comb(order, k) * rate**k * (1 - rate) ** (order - k) * math.exp((k * k - k) / (2 * noise**2))
        for k in range(order + 1)
    ]
    closed = math.log(math.fsum(terms)) / (order - 1)
    cost = rdp_cost(GaussianEvent(sampling_rate=rate, noise_multiplier=noise, count=7), float(order))
    assert closed * 7 * (1 - 1e-12) <= cost <= 7 * (closed * (1 + 1e-8) + 2e-12)


@pytest.mark.parametrize(
    ("rate", "noise", "order"), [(0.1, 1.0, 4.5), (0.2, 3.0, 9.3), (0.5, 0.8, 1.7), (0.3, 2.0, 17.8)]
)
def test_the_renyi_cost_between_whole_orders_is_the_integral_of_its_definition(rate, noise, order):
    def integrand(z):
        ratio = (1 - rate) + rate * math.exp((2 * z - 1) / (2 * noise**2))
        return ratio**order * math.exp(-(z**2) / (2 * noise**2)) / (noise * math.sqrt(2 * math.pi))

    moment, _ = quad(integrand, -12 * noise, order + 12 * noise, epsabs=0, epsrel=1e-12, limit=500)
    cost = rdp_cost(GaussianEvent(sampling_rate=rate, noise_multiplier=noise), order)
    assert cost == pytest.approx(math.log(moment) / (order - 1), rel=1e-8)


@pytest.mark.parametrize(("rate", "noise", "order"), [(0.1, 1.0, 4.5), (0.2, 3.0, 9.3)])
def test_the_reference_library_prices_fractional_orders_alike_but_a_little_higher(rate, noise, order):
    from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    theirs = RdpAccountant(orders=[order])
    theirs.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(noise)))
    wanted = rdp_limit(order, epsilon=theirs.get_epsilon(1e-5), delta=1e-5)
    cost = rdp_cost(GaussianEvent(sampling_rate=rate, noise_multiplier=noise), order)
    assert cost == pytest.approx(wanted, rel=1e-3) and cost <= wanted


def test_a_full_batch_costs_its_closed_form_and_little_noise_is_priced_without_sampling():
    assert rdp_cost(GaussianEvent(sampling_rate=1.0, noise_multiplier=40.0, count=40), 4.0) == pytest.approx(0.05)
    assert rdp_cost(GaussianEvent(sampling_rate=0.1, noise_multiplier=0.1), 4.0) == pytest.approx(200.0)


@given(ledger=ledgers, filter_name=st.sampled_from(FILTERS))
def test_what_fits_never_costs_more_than_the_limit(ledger, filter_name):
    budget = lifetime_budget(3.0, 1e-5, filter_name=filter_name)
    if fits(budget, ledger) and ledger:
        full = all(event.sampling_rate == 1 for event in ledger)
        assert not full or epsilon_of(ledger, 1e-5) <= 3.0


@given(ledger=ledgers, more=events, filter_name=st.sampled_from(FILTERS))
def test_whatever_is_added_never_makes_room(ledger, more, filter_name):
    budget = lifetime_budget(3.0, 1e-5, filter_name=filter_name)
    assert fits(budget, ledger) or not fits(budget, (*ledger, more))
    assert epsilon_left(budget, (*ledger, more)) <= epsilon_left(budget, ledger)


@given(ledger=ledgers, run=events, filter_name=st.sampled_from(FILTERS))
def test_the_runs_left_fit_and_one_more_does_not(ledger, run, filter_name):
    budget = lifetime_budget(8.0, 1e-5, filter_name=filter_name)
    left = runs_left(budget, ledger, (run,))
    assert not fits(budget, (*ledger, *(run,) * (left + 1)))
    assert left == 0 or fits(budget, (*ledger, *(run,) * (left - 1)))


def test_sampled_runs_are_decided_by_renyi_and_full_batches_by_gdp():
    budget = lifetime_budget(8.0, 1e-5)
    assert binding_measure(budget, RUN).name == "gdp"
    assert binding_measure(budget, SAMPLED).name == "rdp"
    assert not fits(lifetime_budget(8.0, 1e-5, filter_name="gdp"), SAMPLED)


def test_a_sampled_composition_that_fits_costs_less_than_the_limit_by_loss_distributions():
    budget = lifetime_budget(8.0, 1e-5, filter_name="rdp")
    left = runs_left(budget, (), SAMPLED)
    assert left > 0 and epsilon_of(SAMPLED * left, 1e-5) < 8.0


def test_an_untouched_budget_has_room_for_a_run_of_the_whole_limit():
    assert epsilon_left(lifetime_budget(8.0, 1e-5, filter_name="gdp"), ()) == pytest.approx(8.0, rel=1e-9)
    assert epsilon_left(lifetime_budget(8.0, 1e-5), RUN * 105) < epsilon_of(RUN, 1e-5)


def test_the_statement_names_each_filter_its_limit_and_why():
    words = statement(lifetime_budget(8.0, 1e-5))
    for part in (
        "GDP filter",
        "exact for full batches",
        "RDP filter",
        "order 4.039",
        "half the delta",
        "valid however",
    ):
        assert part in words
    assert "RDP" not in statement(lifetime_budget(8.0, 1e-5, filter_name="gdp"))


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.0, 1e-5), (math.inf, 1e-5), (math.nan, 1e-5), (1001.0, 1e-5), (1.0, 0.0), (1.0, 1.0)]
)
def test_a_limit_without_a_meaning_is_refused(epsilon, delta):
    with pytest.raises(InvalidValue):
        lifetime_budget(epsilon, delta)


@pytest.mark.parametrize(("filter_name", "order"), [("gdp", 4.0), ("rdp", None), ("rdp", 1.0), ("either", math.inf)])
def test_an_order_that_does_not_belong_to_the_filter_is_refused(filter_name, order):
    with pytest.raises(InvalidValue, match="order"):
        LifetimeBudget(epsilon=8.0, delta=1e-5, filter=filter_name, order=order)


def test_an_order_that_leaves_nothing_is_refused():
    with pytest.raises(PrivacyError, match=r"leaves nothing at order 1\.1"):
        rdp_limit(1.1, epsilon=1.0, delta=1e-5)
