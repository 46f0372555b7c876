"""No order of a pool's steps makes its books unbalanced, its reserve negative, a payout twice or a unit vanish."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.pool import corrections, desk, receipts
from fedjoint.pool.books import Books
from fedjoint.pool.claim import Filing
from fedjoint.pool.claim_step import SignedStep, Step, file_step, sign_step
from fedjoint.pool.conversion import Rate
from fedjoint.pool.facts import Converted, Deposited, Earned, GivenBack, Opened, VoucherSpent
from fedjoint.pool.revenue import Subscription
from fedjoint.pool.state import PoolState
from fedjoint.pool.vouchers import Voucher
from tests.pool.consortium import PEOPLE, registry
from tests.pool.small_pool import CONTRIBUTIONS, HOLDERS

MONEY = MoneyTerms(reserve_premium_bp=2_000, reserve_target_bp=10_000, share_cap_bp=5_500, tax_bp=600)
RULES = Opened(pool_id="x", exchange=PEOPLE["exchange"].public, money=MONEY, claims=ClaimTerms(appeal_days=0))
START = PoolState(opened=RULES, registry=registry(), size=1)
RATE = Rate(of="USD", into="CNY", rate="7.1", source="a bank")
FIRST_DAY, EXPIRES = datetime(2026, 4, 1, 12, tzinfo=UTC), "2026-04-08T00:00:00Z"
#: deposit, in dollars, settle, refund, credit note, debt, payout, convert, excess, subscription, voucher, claim
KINDS = "ddussrrgtppcxevvkk"
#: From a claim's state to the step that is taken, who signs it, and what it says.
PATH = {
    "filed": ("admit", ("exchange",), {}),
    "admitted": ("evidence", ("owner",), {"sha256": ["0" * 64]}),
    "evidence": ("convene", ("exchange",), {"panel": ["p1", "p2", "p3"]}),
    "adjudication": ("decide", ("p1", "p2"), {"upheld": True, "reasons": "so"}),
    "decided": ("serve", ("exchange",), {}),
    "appeal_window": ("conclude", ("exchange",), {}),
    "payable": ("pay", ("exchange",), {}),
    "paid": ("recover", ("exchange",), {}),
    "recovery": ("recover", ("exchange",), {}),
}


def read(source):
    """Four bytes are a step: what, which, and how much; small numbers make steps meet."""
    for place in range(0, len(source) - 3, 4):
        what, number, high, low = source[place : place + 4]
        yield KINDS[what % len(KINDS)], number % 4, 1 + (high * 256 + low) * (1 + number // 4 % 4)


def taken(claims, number, amount, when):
    """The next step of a claim; every seventh is withdrawn."""
    name = f"c{number}"
    claim = claims.get(name)
    if claim is None:
        title = {"dataset": "scans-a", "share_bp": 10_000, "settlements": (f"n{number}",)} if number % 2 else {}
        filing = Filing(
            id=name,
            kind="title failure" if title else "privacy breach",
            claimant="owner",
            respondent="a",
            currency="CNY",
            amount_minor=amount,
            statement="so",
            **title,
        )
        step, signers = file_step(filing, when), ("owner",)
    else:
        verb, signers, body = PATH.get(claim.state, ("close", ("exchange",), {"reasons": "so"}))
        if amount % 7 == 0:
            verb, signers, body = "withdraw", ("owner",), {"reasons": "so"}
        if verb == "decide":
            body = body | {"amount_minor": 1 + amount % claim.filing.amount_minor}
        if verb == "recover":
            body = {"amount_minor": min(max(claim.owed_minor, 1), amount)}
        step = Step(claim=name, verb=verb, at=when, after=claim.head, body=body)
    return SignedStep(step=step, signatures={name: sign_step(step, PEOPLE[name]) for name in signers})


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
            if number:
                name = list(state.settlements)[amount % len(state.settlements)]
                amount = 1 + amount % max(state.settled(name).gross_minor, 1)
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
            dollars = books.balance("escrow", "USD").available_minor if number else amount
            facts = Converted(id=name, amount_minor=min(amount, max(dollars, 1)), rate=RATE)
            return corrections.convert(state, facts, books=books, at=when)
        case "v":
            voucher = Voucher(id=name, subsidiser=buyer, currency="CNY", amount_minor=amount, expires=EXPIRES)
            if name not in state.vouchers:
                return receipts.fund_voucher(state, voucher, books=books, at=when)
            if amount % 3 == 0:
                return receipts.expire_voucher(state, name, books=books, at=when)
            spent = VoucherSpent(voucher=name, id=f"s{amount % 5}", holder="a", amount_minor=amount)
            return receipts.spend_voucher(state, spent, books=books, at=when)
        case "k":
            return desk.move_claim(state, taken(state.claims, number, amount, when), books=books)[0]
        case "x":
            return corrections.return_excess(state, name, books=books, at="2027-06-01T00:00:00Z")
        case _:
            sub = Subscription(id=name, buyer=buyer, currency="CNY", amount_minor=amount, num_periods=3)
            if name in state.subscriptions:
                return receipts.earn(state, Earned(subscription=name, period=1 + amount % 3), books=books, at=when)
            return receipts.subscribe(state, sub, books=books, at=when)


def begun():
    """A pool that has divided a revenue, and has some more: steps have something to meet. The state, and entries."""
    state, books, when = START, Books(), FIRST_DAY.isoformat().replace("+00:00", "Z")
    for what, number, amount in (("d", 0, 90_000), ("u", 0, 5_000), ("s", 1, 0), ("d", 1, 40_000)):
        change = decided(state, books, what, number, amount, when)
        books.post(change.entries)
        state = change.after or state
    return state, tuple(books.entries())


BEGUN, ENTRIES = begun()


def checked(books):
    """What holds of books after every step; how they stand."""
    sums, standing = Counter(), books.standings()
    for (currency, account), balance in standing.items():
        sums[currency] += balance.posted_minor
        outside = account.partition(":")[0] in ("bank", "receivable", "payable", "conversion")
        assert outside or balance.available_minor >= 0, account
    assert not any(sums.values())
    return standing


@settings(max_examples=2_000)
@given(st.binary(min_size=4, max_size=24))
def test_no_order_of_steps_loses_or_makes_a_unit(source):
    state, books, paid, day = BEGUN, Books(), Counter(), FIRST_DAY
    books.post(ENTRIES)
    standing = books.standings()
    for what, number, amount in read(source):
        for _ in range(1 + amount % 9 if what == "k" else 1):  # a claim takes some steps of its way at once
            day += timedelta(days=1)
            try:
                change = decided(state, books, what, number, amount, day.isoformat().replace("+00:00", "Z"))
                books.post(change.entries)
            except PoolError:
                assert books.standings() == standing  # what is refused changes nothing
                break
            state = change.after if change.after is not None else state
            paid.update(entry.id for entry in change.entries if entry.kind == "payout")
            standing = checked(books)
    assert all(count == 1 for count in paid.values())
    received = sum(one.gross_minor for _, one in state.settlements.values())
    assert received == sum(sum(one.received_minor.values()) for _, one in state.settlements.values())
    held = sum(claim.held.reserve_minor for claim in state.claims.values())
    assert books.balance("reserve", "CNY").pending_out_minor == -held
