from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.pool.money import MAX_MINOR, apportion, check_minor, format_minor, minor_digits, parse_minor

AMOUNTS = st.integers(-MAX_MINOR, MAX_MINOR)
TOTALS = st.integers(0, MAX_MINOR)
CURRENCIES = st.sampled_from(["CNY", "JPY", "KWD", "CLF", "USD"])


def as_shares(weights: dict[str, int]) -> dict[str, Fraction]:
    return {key: Fraction(weight, sum(weights.values())) for key, weight in weights.items()}


WEIGHTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.integers(0, 10**6), min_size=1, max_size=9
).filter(lambda weights: any(weights.values()))


@pytest.mark.parametrize(("currency", "digits"), [("CNY", 2), ("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)])
def test_a_currency_has_the_digits_of_iso_4217(currency, digits):
    assert minor_digits(currency) == digits


@pytest.mark.parametrize(("currency", "nearest"), [("CNX", "CNY"), ("cny", "CNY"), ("USDD", "USD")])
def test_an_unknown_currency_is_refused_with_the_nearest_one_named(currency, nearest):
    with pytest.raises(PoolError, match=nearest):
        minor_digits(currency)


def test_gold_is_refused_since_it_has_no_minor_unit():
    with pytest.raises(PoolError, match="no minor unit"):
        minor_digits("XAU")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (100_000_000, "CNY", "1,000,000.00 CNY"),
        (0, "CNY", "0.00 CNY"),
        (-1, "CNY", "-0.01 CNY"),
        (1_234, "JPY", "1,234 JPY"),
        (-1_234_567, "KWD", "-1,234.567 KWD"),
    ],
)
def test_an_amount_is_written_as_people_write_it(amount, currency, text):
    assert format_minor(amount, currency) == text


@given(AMOUNTS, CURRENCIES)
def test_reading_is_the_inverse_of_writing(amount, currency):
    assert parse_minor(format_minor(amount, currency), currency) == amount


@pytest.mark.parametrize(("text", "minor"), [("5", 500), ("5.1", 510), ("1234.50", 123_450), ("-0.00", 0)])
def test_an_amount_may_be_written_short(text, minor):
    assert parse_minor(text, "CNY") == minor


@pytest.mark.parametrize(
    "text",
    ["", " 5", "5 ", "+5", "1.001", "NaN", "inf", "1e3", "1,00", "1,0000", "10,00.00", ".5", "5.", "--5", "5 USD", "٣",
     "0x10", "1_000", "5\n", "9" * 65, "10000000000001", "1,00,000"],
)  # fmt: skip
def test_whatever_is_not_exactly_an_amount_is_refused(text):
    with pytest.raises(PoolError):
        parse_minor(text, "CNY")


def test_decimals_of_a_currency_without_any_are_refused():
    with pytest.raises(PoolError, match="1 decimals"):
        parse_minor("5.0", "JPY")


@pytest.mark.parametrize("value", [1.0, True, "1", None, Fraction(1), MAX_MINOR + 1, -MAX_MINOR - 1])
def test_only_bounded_whole_numbers_are_amounts(value):
    with pytest.raises(PoolError, match="amount"):
        check_minor("amount", value)
    with pytest.raises(PoolError, match="amount"):
        format_minor(value, "CNY")


def test_an_election_by_largest_remainder_comes_out_as_in_the_textbook():
    # Ten seats and 100,000 votes: the quotas are 4.7, 1.6, 1.58, 1.2, 0.61 and 0.31.
    votes = {"yellow": 47_000, "white": 16_000, "red": 15_800, "green": 12_000, "blue": 6_100, "pink": 3_100}
    seats = {"yellow": 5, "white": 2, "red": 1, "green": 1, "blue": 1, "pink": 0}
    assert apportion(10, as_shares(votes)).amounts == seats


def test_ties_go_by_id():
    assert apportion(2, as_shares({"c": 1, "a": 1, "b": 1})).amounts == {"a": 1, "b": 1, "c": 0}


@given(TOTALS, WEIGHTS)
def test_parts_are_fair_and_sum_to_the_whole(total, weights):
    shares = as_shares(weights)
    parts = apportion(total, shares)
    assert sum(parts.amounts.values()) == total
    assert sum(parts.carried.values()) == 0
    for key, share in shares.items():
        assert parts.amounts[key] >= 0
        assert abs(parts.amounts[key] - total * share) < 1
        assert parts.carried[key] == total * share - parts.amounts[key]
        assert share > 0 or parts.amounts[key] == 0


@given(TOTALS, WEIGHTS, st.randoms(use_true_random=False))
def test_the_order_of_the_ids_plays_no_part(total, weights, shuffler):
    keys = list(weights)
    shuffler.shuffle(keys)
    shares = as_shares(weights)
    assert apportion(total, {key: shares[key] for key in keys}) == apportion(total, shares)


@given(TOTALS, WEIGHTS)
def test_a_larger_share_never_gets_less(total, weights):
    amounts = apportion(total, as_shares(weights)).amounts
    ranked = sorted(weights, key=lambda key: weights[key])
    for smaller, larger in itertools.pairwise(ranked):
        if weights[smaller] < weights[larger]:
            assert amounts[smaller] <= amounts[larger]


PERIODS = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any)), max_size=60
)


@given(PERIODS)
def test_over_all_periods_everybody_is_within_one_unit_of_its_due(periods):
    paid = dict.fromkeys("abcd", 0)
    due = dict.fromkeys("abcd", Fraction(0))
    brought = None
    for total, weights in periods:
        # A holder with weight 0 has left for this period, and keeps what it carries.
        shares = as_shares({key: weight for key, weight in zip("abcd", weights, strict=True) if weight})
        parts = apportion(total, shares, brought=brought)
        brought = parts.carried
        assert sum(parts.amounts.values()) == total
        assert min(parts.amounts.values()) >= -1
        for key, amount in parts.amounts.items():
            paid[key] += amount
            due[key] += total * shares.get(key, 0)
            assert abs(paid[key] - due[key]) < 1
            assert paid[key] >= 0


def test_after_a_thousand_periods_equal_holders_differ_by_a_unit_at_most():
    source = random.Random(7)
    paid, brought = dict.fromkeys("abc", 0), None
    for _ in range(1_000):
        parts = apportion(source.randrange(1, 10_000), as_shares({"a": 1, "b": 1, "c": 1}), brought=brought)
        brought = parts.carried
        paid = {key: paid[key] + parts.amounts[key] for key in paid}
    assert max(paid.values()) - min(paid.values()) <= 1


def test_without_carrying_the_same_holder_would_lose_every_time():
    shares = {"a": Fraction(501, 1_000), "b": Fraction(499, 1_000)}
    brought, b_paid = None, 0
    for _ in range(100):
        assert apportion(1, shares).amounts["b"] == 0
        parts = apportion(1, shares, brought=brought)
        brought, b_paid = parts.carried, b_paid + parts.amounts["b"]
    assert b_paid == 50


def test_a_unit_is_not_taken_back_where_another_can_wait():
    carried = {"a": Fraction(-2, 5), "b": Fraction(-2, 5), "c": Fraction(4, 5)}
    assert apportion(0, {"c": Fraction(1)}, brought=carried).amounts == {"a": 0, "b": 0, "c": 0}


def test_a_unit_paid_early_is_taken_back_where_the_sum_demands_it():
    carried = {"a": Fraction(-9, 10), "b": Fraction(-9, 10), "c": Fraction(9, 10), "d": Fraction(9, 10)}
    amounts = apportion(0, as_shares({"c": 1, "d": 1}), brought=carried).amounts
    assert sum(amounts.values()) == 0
    assert all(abs(amounts[key] - carried[key]) < 1 for key in carried)


@pytest.mark.parametrize(
    "shares",
    [{}, {"a": Fraction(1, 2)}, {"a": Fraction(3, 2), "b": Fraction(-1, 2)}, {"a": 1.0}, {"a": 1}],
)
def test_shares_that_are_no_shares_are_refused(shares):
    with pytest.raises(PoolError, match="share"):
        apportion(10, shares)


@pytest.mark.parametrize(
    "brought", [{"a": Fraction(1, 2)}, {"a": Fraction(1), "b": Fraction(-1)}, {"a": 0.5, "b": -0.5}]
)
def test_remainders_that_were_never_carried_are_refused(brought):
    with pytest.raises(PoolError, match="brought"):
        apportion(10, {"a": Fraction(1)}, brought=brought)


@pytest.mark.parametrize("total", [-1, 1.0, MAX_MINOR + 1])
def test_a_total_that_is_no_amount_is_refused(total):
    with pytest.raises(PoolError, match="total"):
        apportion(total, {"a": Fraction(1)})
