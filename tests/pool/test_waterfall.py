from __future__ import annotations

import dataclasses
import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool.money import MAX_MINOR
from fedjoint.pool.waterfall import Period, Settlement, Step, check_steps, reserve_target, settle

CONTRIBUTIONS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(-1e6, 1e6), min_size=1, max_size=8)


def test_a_million_yuan_is_divided_as_computed_by_hand():
    done = settle(100_000_000, {"a": 3.0, "b": 1.0, "c": -2.0}, terms=MoneyTerms())
    assert [(step.name, step.amount_minor) for step in done.steps] == [
        ("gross", 100_000_000),
        ("tax", 0),
        ("exchange fee", 10_000_000),
        ("compute costs", 0),
        ("reserve premium", 3_000_000),
        ("contribution shares", 87_000_000),
        ("suspense", 0),
    ]
    assert done.payouts_minor == {"a": 65_250_000, "b": 21_750_000, "c": 0}
    assert done.held_minor == {"a": 6_525_000, "b": 2_175_000, "c": 0}
    assert done.shares == {"a": Fraction(3, 4), "b": Fraction(1, 4), "c": 0}


def test_every_step_is_divided_as_computed_by_hand():
    terms = MoneyTerms(
        tax_bp=600, cpu_hour_minor=100, compute_cap_bp=500, reserve_premium_bp=300, base_bp=2_000, base_by="size"
    )
    period = Period(sizes={"a": 300, "b": 100}, compute_minor={"a": 10_000, "b": 30_000}, reserve_room_minor=5_000)
    done = settle(1_060_000, {"a": 1.0, "b": 3.0}, terms=terms, period=period)
    assert done.tax_minor == 60_000  # 6/106 of gross
    assert done.fee_minor == 106_000
    assert done.compute_minor == {"a": 10_000, "b": 30_000}  # together below the cap of 53,000
    assert done.reserve_minor == 5_000  # all that the reserve lacks, less than 3 %
    assert done.distributed_minor == 849_000
    base, rest = 169_800, 679_200
    assert done.payouts_minor == {"a": base * 3 // 4 + rest // 4, "b": base // 4 + rest * 3 // 4}
    assert done.entitled == {"a": Fraction(7, 20), "b": Fraction(13, 20)}


def test_compute_costs_beyond_the_cap_are_all_cut_alike():
    terms = MoneyTerms(cpu_hour_minor=1, compute_cap_bp=100)
    done = settle(10_000, {"a": 1.0, "b": 1.0}, terms=terms, period=Period(compute_minor={"a": 100, "b": 300}))
    assert done.compute_minor == {"a": 25, "b": 75}


def test_parts_are_rounded_by_largest_remainder():
    done = settle(99, {"a": 1.0}, terms=MoneyTerms(exchange_fee_bp=199, reserve_premium_bp=101))
    assert (done.fee_minor, done.reserve_minor, done.distributed_minor) == (2, 1, 96)  # of 1.9701, 0.9999, 96.03


def test_a_step_says_its_rule_in_words():
    terms = MoneyTerms(exchange_fee_bp=1_005, base_bp=2_000)
    rules = {step.name: step.rule for step in settle(1, {"a": 1.0}, terms=terms).steps}
    assert rules["exchange fee"] == "10.05 % of gross"
    assert rules["contribution shares"].startswith("the rest: 20.00 % equally, by positive contributions")
    assert all(rules.values())


def test_if_nobody_contributed_the_rest_stands_in_suspense_and_the_base_part_is_paid():
    done = settle(1_000, {"a": 0.0, "b": -1.0}, terms=MoneyTerms())
    assert (done.distributed_minor, done.suspense_minor) == (0, 870)
    assert done.payouts_minor == {"a": 0, "b": 0}
    with_base = settle(1_000, {"a": 0.0, "b": -1.0}, terms=MoneyTerms(base_bp=1_000))
    assert (with_base.distributed_minor, with_base.suspense_minor) == (87, 783)
    assert with_base.payouts_minor == {"a": 44, "b": 43}
    assert with_base.entitled == {"a": Fraction(1, 2), "b": Fraction(1, 2)}


def test_if_nobody_contributed_remainders_wait():
    brought = {"a": Fraction(1, 3), "b": Fraction(-1, 3)}
    carried = settle(1_000, {"a": 0.0, "b": -1.0}, terms=MoneyTerms(), brought=brought).carried
    assert {key: value for key, value in carried.items() if value} == brought


def test_the_reserves_target_is_a_part_of_a_years_revenue_or_the_largest_sum_insured():
    terms = MoneyTerms(reserve_target_bp=500, largest_insured_minor=1_000)
    assert (reserve_target(terms, 19_999), reserve_target(terms, 20_020)) == (1_000, 1_001)
    with pytest.raises(PoolError, match="year"):
        reserve_target(terms, -1)


@pytest.mark.parametrize(
    ("terms", "period", "why"),
    [
        (MoneyTerms(base_bp=1, base_by="size"), Period(sizes={"a": 1}), "size of 'b' is missing"),
        (MoneyTerms(base_bp=1, base_by="size"), Period(sizes={"a": 1, "b": 0}), "size of 'b'"),
        (MoneyTerms(), Period(compute_minor={"z": 1}), "'z' asks"),
        (MoneyTerms(), Period(compute_minor={"a": -1}), "compute costs of 'a'"),
        (MoneyTerms(), Period(reserve_room_minor=-1), "room"),
        (
            MoneyTerms(exchange_fee_bp=9_700, compute_cap_bp=10_000),
            Period(compute_minor={"a": 100}),
            "compute costs leave too little",
        ),
    ],
)
def test_circumstances_that_cannot_be_are_refused(terms, period, why):
    with pytest.raises(PoolError, match=why):
        settle(100, {"a": 1.0, "b": 1.0}, terms=terms, period=period)


def test_a_remainder_carried_is_paid_by_the_next_settlement():
    terms = MoneyTerms(exchange_fee_bp=0, reserve_premium_bp=0)
    first = settle(1, {"a": 1.0, "b": 1.0}, terms=terms)
    second = settle(1, {"a": 1.0, "b": 1.0}, terms=terms, brought=first.carried)
    assert (first.payouts_minor, second.payouts_minor) == ({"a": 1, "b": 0}, {"a": 0, "b": 1})


def random_revenue(source: random.Random) -> tuple[int, list[float], list[int], int | None]:
    gross = source.choice((source.randrange(50), source.randrange(10**12)))
    contributions = [source.randrange(-8, 40) / 8 for _ in range(4)]
    compute = [source.randrange(10**9) for _ in range(4)]
    return gross, contributions, compute, source.choice((None, source.randrange(10**6)))


def random_terms(source: random.Random) -> MoneyTerms:
    return MoneyTerms(
        tax_bp=source.randrange(2_501),
        exchange_fee_bp=source.randrange(4_001),
        cpu_hour_minor=1,
        compute_cap_bp=source.randrange(1_001),
        reserve_premium_bp=source.randrange(1_001),
        base_bp=source.randrange(10_001),
        base_by=source.choice(("equal", "size")),
        holdback_bp=source.randrange(10_001),
    )


def quotas(gross, shares, terms, period):
    """Every part exactly, computed in another order than the waterfall does."""
    tax, fee = Fraction(gross * terms.tax_bp, 10_000 + terms.tax_bp), Fraction(gross * terms.exchange_fee_bp, 10_000)
    premium = Fraction(gross * terms.reserve_premium_bp, 10_000)
    if period.reserve_room_minor is not None:
        premium = min(premium, period.reserve_room_minor)
    compute = min(sum(period.compute_minor.values()), gross * terms.compute_cap_bp // 10_000)
    rest = gross - tax - fee - premium - compute
    base, size = Fraction(terms.base_bp, 10_000), sum(period.sizes.values())
    weights = {h: Fraction(1, 4) if terms.base_by == "equal" else Fraction(n, size) for h, n in period.sizes.items()}
    return {h: rest * (base * weights[h] + (1 - base) * share) for h, share in shares.items()}, tax, fee, premium


@settings(max_examples=2_000)
@given(st.integers(0, 2**64))
def test_no_minor_unit_is_lost_over_any_periods_and_nobody_is_a_unit_away_from_its_quota(seed):
    source = random.Random(seed)
    terms = random_terms(source)
    brought, owed, got = {}, Counter(), Counter()
    sizes = {"a": 1, "b": 20, "c": 300, "d": 4_000}
    for gross, contributions, compute, room in [random_revenue(source) for _ in range(2)]:
        period = Period(sizes=sizes, compute_minor=dict(zip("abcd", compute, strict=True)), reserve_room_minor=room)
        done = settle(gross, dict(zip("abcd", contributions, strict=True)), terms=terms, brought=brought, period=period)
        brought = done.carried
        parts = (done.tax_minor, done.fee_minor, sum(done.compute_minor.values()), done.reserve_minor)
        assert sum(parts) + done.distributed_minor + done.suspense_minor == gross
        assert sum(done.payouts_minor.values()) == done.distributed_minor
        assert all(0 <= held <= max(0, done.payouts_minor[h]) for h, held in done.held_minor.items())
        exact, tax, fee, premium = quotas(gross, done.shares, terms, period)
        owed.update(exact | {"tax": tax, "fee": fee, "reserve": premium})
        got.update({**done.payouts_minor, "tax": done.tax_minor, "fee": done.fee_minor, "reserve": done.reserve_minor})
        assert all(abs(owed[key] - got[key]) < 1 for key in owed)
        assert all(got[key] >= 0 for key in got)


@given(st.integers(0, 10_000), CONTRIBUTIONS, st.data())
def test_a_holder_that_contributes_more_is_never_paid_less_beyond_rounding(gross, contributions, data):
    holder = data.draw(st.sampled_from(sorted(contributions)))
    more = data.draw(st.floats(min_value=contributions[holder], max_value=1e7))
    before = settle(gross, contributions, terms=MoneyTerms()).payouts_minor[holder]
    after = settle(gross, {**contributions, holder: more}, terms=MoneyTerms()).payouts_minor[holder]
    assert after >= before - 1  # a larger quota can lose the unit that rounding gave, no more


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
        {"tax_minor": 1},
        {"compute_minor": {"a": 1}},
        {"held_minor": {"a": 88}},
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
    assert len(steps) == 7
    with pytest.raises(PoolError, match="steps"):
        check_steps(steps[::-1])
    with pytest.raises(PoolError, match="sum to"):
        check_steps((dataclasses.replace(steps[0], amount_minor=99), *steps[1:]))


def test_a_step_below_zero_cannot_be_made():
    with pytest.raises(PoolError, match="gross"):
        Step(name="gross", amount_minor=-1, rule="what the buyer paid")
