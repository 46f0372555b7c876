from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool.money import MAX_MINOR
from fedjoint.pool.waterfall import Settlement, Step, check_steps, settle

RATES = st.integers(0, 10_000).flatmap(lambda fee: st.tuples(st.just(fee), st.integers(0, 10_000 - fee)))
TERMS = RATES.map(lambda rates: MoneyTerms(exchange_fee_bp=rates[0], reserve_premium_bp=rates[1]))
CONTRIBUTIONS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(-1e6, 1e6), min_size=1, max_size=8)


def test_a_million_yuan_is_divided_as_computed_by_hand():
    done = settle(100_000_000, {"a": 3.0, "b": 1.0, "c": -2.0}, terms=MoneyTerms())
    assert [(step.name, step.amount_minor) for step in done.steps] == [
        ("gross", 100_000_000),
        ("exchange fee", 10_000_000),
        ("reserve premium", 3_000_000),
        ("contribution shares", 87_000_000),
        ("suspense", 0),
    ]
    assert done.payouts_minor == {"a": 65_250_000, "b": 21_750_000, "c": 0}
    assert done.shares == {"a": Fraction(3, 4), "b": Fraction(1, 4), "c": 0}


def test_rates_are_rounded_down_in_favour_of_the_holders():
    done = settle(99, {"a": 1.0}, terms=MoneyTerms(exchange_fee_bp=199, reserve_premium_bp=101))
    assert (done.fee_minor, done.reserve_minor, done.distributed_minor) == (1, 0, 98)


def test_a_step_says_its_rule_in_words():
    rules = {step.name: step.rule for step in settle(1, {"a": 1.0}, terms=MoneyTerms(exchange_fee_bp=1_005)).steps}
    assert rules["exchange fee"] == "10.05 % of gross, rounded down"
    assert all(rules.values())


def test_if_nobody_contributed_the_rest_stands_in_suspense():
    done = settle(1_000, {"a": 0.0, "b": -1.0}, terms=MoneyTerms())
    assert (done.distributed_minor, done.suspense_minor) == (0, 870)
    assert done.payouts_minor == {"a": 0, "b": 0}
    assert done.steps[-1] == Step(
        name="suspense", amount_minor=870, rule="the rest, if nobody's contribution is positive"
    )


def test_if_nobody_contributed_remainders_wait():
    brought = {"a": Fraction(1, 3), "b": Fraction(-1, 3)}
    assert settle(1_000, {"a": 0.0, "b": -1.0}, terms=MoneyTerms(), brought=brought).carried == brought


def test_a_remainder_carried_is_paid_by_the_next_settlement():
    terms = MoneyTerms(exchange_fee_bp=0, reserve_premium_bp=0)
    first = settle(1, {"a": 1.0, "b": 1.0}, terms=terms)
    second = settle(1, {"a": 1.0, "b": 1.0}, terms=terms, brought=first.carried)
    assert (first.payouts_minor, second.payouts_minor) == ({"a": 1, "b": 0}, {"a": 0, "b": 1})


@given(st.integers(0, MAX_MINOR), CONTRIBUTIONS, TERMS)
def test_no_minor_unit_is_lost_or_made(gross, contributions, terms):
    done = settle(gross, contributions, terms=terms)
    assert done.fee_minor + done.reserve_minor + done.distributed_minor + done.suspense_minor == gross
    assert sum(done.payouts_minor.values()) == done.distributed_minor
    assert (done.suspense_minor == 0) or (done.distributed_minor == 0)
    for holder, payout in done.payouts_minor.items():
        assert abs(payout - done.distributed_minor * done.shares[holder]) < 1
        assert contributions[holder] > 0 or payout == 0


@given(st.integers(0, 10_000), CONTRIBUTIONS, st.data())
def test_a_holder_that_contributes_more_is_never_paid_less(gross, contributions, data):
    holder = data.draw(st.sampled_from(sorted(contributions)))
    more = data.draw(st.floats(min_value=contributions[holder], max_value=1e7))
    before = settle(gross, contributions, terms=MoneyTerms()).payouts_minor[holder]
    assert settle(gross, {**contributions, holder: more}, terms=MoneyTerms()).payouts_minor[holder] >= before


@given(st.integers(0, 10_000), CONTRIBUTIONS)
def test_the_order_of_the_holders_plays_no_part(gross, contributions):
    backwards = dict(reversed(contributions.items()))
    assert settle(gross, backwards, terms=MoneyTerms()) == settle(gross, contributions, terms=MoneyTerms())


@pytest.mark.parametrize("gross", [-1, 1.0, True, MAX_MINOR + 1])
def test_a_gross_that_is_no_amount_is_refused(gross):
    with pytest.raises(PoolError, match="gross"):
        settle(gross, {"a": 1.0}, terms=MoneyTerms())


def test_a_currency_that_does_not_exist_is_refused():
    with pytest.raises(PoolError, match="CNY"):
        settle(1, {"a": 1.0}, terms=MoneyTerms(currency="CNX"))


def test_a_contribution_that_is_no_number_is_refused():
    with pytest.raises(PoolError, match="'a'"):
        settle(1, {"a": float("nan")}, terms=MoneyTerms())


@pytest.mark.parametrize(
    "change",
    [
        {"gross_minor": 101},
        {"fee_minor": 11},
        {"suspense_minor": 1},
        {"distributed_minor": 86},
        {"payouts_minor": {"a": 86}},
        {"payouts_minor": {"a": 88}},
        {"steps": ()},
    ],
)
def test_a_settlement_that_does_not_add_up_cannot_be_made(change):
    done = settle(100, {"a": 1.0}, terms=MoneyTerms())
    with pytest.raises(PoolError):
        dataclasses.replace(done, **change)
    assert isinstance(dataclasses.replace(done), Settlement)


def test_steps_out_of_order_or_not_adding_up_are_refused():
    steps = settle(100, {"a": 1.0}, terms=MoneyTerms()).steps
    assert check_steps(steps) == 87
    with pytest.raises(PoolError, match="steps"):
        check_steps(steps[::-1])
    with pytest.raises(PoolError, match="sum to"):
        check_steps((dataclasses.replace(steps[0], amount_minor=99), *steps[1:]))


def test_a_step_below_zero_cannot_be_made():
    with pytest.raises(PoolError, match="gross"):
        Step(name="gross", amount_minor=-1, rule="what the buyer paid")
