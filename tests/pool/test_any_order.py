"""No order of a pool's steps makes its books unbalanced, its reserve negative, a payout twice or a unit vanish."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool import corrections, desk, receipts
from fedjoint.pool.books import Books
from fedjoint.pool.conversion import Rate
from fedjoint.pool.facts import Converted, Deposited, Earned, GivenBack, Opened
from fedjoint.pool.revenue import Subscription
from fedjoint.pool.state import PoolState
from tests.pool.consortium import PEOPLE, registry
from tests.pool.small_pool import CONTRIBUTIONS, HOLDERS, at

MONEY = MoneyTerms(reserve_premium_bp=2_000, reserve_target_bp=10_000, share_cap_bp=5_500, tax_bp=600)
RULES = Opened(pool_id="x", exchange=PEOPLE["exchange"].public, money=MONEY, claims=ClaimTerms())
START = PoolState(opened=RULES, registry=registry(), size=1)
RATE = Rate(of="USD", into="CNY", rate="7.1", source="a bank")
STEPS = st.lists(
    st.tuples(st.sampled_from("dusrgtpcex"), st.integers(0, 3), st.integers(1, 100_000)), min_size=1, max_size=6
)


def decided(state, books, what, number, amount, when):
    """One step; the small numbers make steps meet: repeated ids, refunds of what was settled, of too much."""
    name, buyer = f"n{number}", "buyer"
    match what:
        case "d":
            facts = Deposited(id=name, party=buyer, amount_minor=amount, currency="CNY", from_credit=number == 3)
            return receipts.deposit(state, facts, books=books, at=when)
        case "u":
            facts = Deposited(id=f"usd-{name}", party=buyer, amount_minor=amount, currency="USD")
            return receipts.deposit(state, facts, books=books, at=when)
        case "s":
            gross = books.balance("escrow", "CNY").available_minor if number else amount
            datasets = {holder: f"scans-{holder}" for holder in HOLDERS}
            facts = desk.Settling(id=name, gross_minor=gross, contributions=CONTRIBUTIONS, datasets=datasets)
            return desk.settle_revenue(state, facts, books=books, at=when)[0]
        case "r" | "g":
            before = sum(one.amount_minor for one in state.given_back.get(name, ()))
            how = "refund" if what == "r" else "credit note"
            facts = GivenBack(settlement=name, buyer=buyer, amount_minor=amount, before_minor=before, how=how)
            return corrections.give_back(state, facts, books=books, at=when)
        case "t":
            facts = Deposited(id=f"debt-{name}", party="a", amount_minor=amount, currency="CNY")
            return receipts.deposit(state, facts, books=books, at=when)
        case "p":
            return desk.pay_out(state, name, books=books, at=when if number else "2027-03-01T00:00:00Z")
        case "c":
            return corrections.convert(state, Converted(id=name, amount_minor=amount, rate=RATE), books=books, at=when)
        case "x":
            return corrections.return_excess(state, name, books=books, at="2027-06-01T00:00:00Z")
        case _:
            sub = Subscription(id=name, buyer=buyer, currency="CNY", amount_minor=amount, num_periods=3)
            if name in state.subscriptions:
                return receipts.earn(state, Earned(subscription=name, period=1 + amount % 3), books=books, at=when)
            return receipts.subscribe(state, sub, books=books, at=when)


@settings(max_examples=2_000)
@given(STEPS)
def test_no_order_of_steps_loses_or_makes_a_unit(steps):
    state, books, paid = START, Books(), Counter()
    for place, (what, number, amount) in enumerate(steps):
        before = books.standings()
        try:
            change = decided(state, books, what, number, amount, at(4, 1 + place))
            books.post(change.entries)
        except PoolError:
            assert books.standings() == before  # what is refused changes nothing
            continue
        state = change.after
        paid.update(entry.id for entry in change.entries if entry.kind == "payout")
        standing = books.standings()
        sums = Counter()
        for (currency, account), balance in standing.items():
            sums[currency] += balance.posted_minor
            outside = account.partition(":")[0] in ("bank", "receivable", "payable", "conversion")
            assert outside or balance.available_minor >= 0, account
        assert not any(sums.values())
    assert all(count == 1 for count in paid.values())
    received = sum(one.gross_minor for _, one in state.settlements.values())
    assert received == sum(sum(one.received_minor.values()) for _, one in state.settlements.values())
