import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.errors import InvalidValue, PoolError
from fedjoint.pool import accounts
from fedjoint.pool.books import Books
from fedjoint.pool.claim import Claim, Debt, Decision, Filing
from fedjoint.pool.claim_money import Setting, effect_of, recoverable
from fedjoint.pool.claim_step import FIRST, STEPS, Step, may_follow
from fedjoint.pool.ledger import Entry, move, post_pending
from tests.pool.docket import FILING, at

TITLE = dataclasses.replace(FILING, kind="title failure", dataset="scans", share_bp=10_000)
SETTING = Setting(
    terms=ClaimTerms(),
    exchange="exchange",
    premiums_minor=50,
    assessable_minor={"b": 30, "c": 60},
    unright_minor=1_500,
    others_minor={"b": 1, "c": 2},
)


def entry(name: str, amounts: Mapping[str, int], *, kind: str = "invoice") -> Entry:
    return Entry(id=name, at=at(0), kind=kind, currency="CNY", postings=move(amounts))


def stocked(**more: int) -> Books:
    """Books in which everybody has something: what comes in beside comes from a buyer."""
    amounts = {
        "reserve": 1_050,
        "tranche": 100,
        "holdback:a": 300,
        "payable:a": 200,
        "payable:b": 500,
        "payable:c": 500,
    }
    amounts |= {name.replace("_", ":"): amount for name, amount in more.items()}
    books = Books()
    books.post([entry("start", {**amounts, "receivable:buyer": -sum(amounts.values())})])
    return books


def waiting(name: str, holder: str, amount: int) -> Entry:
    """A holdback that waits for its day, as a settlement leaves it."""
    return Entry(
        id=f"{name}/holdback/{holder}",
        at=at(0),
        kind="holdback",
        currency="CNY",
        postings=move({f"holdback:{holder}": -amount, f"payable:{holder}": amount}),
        phase="pending",
        details={"due": at(90)},
    )


def do(books: Books, claim: Claim | None, verb: str, *, filing: Filing = FILING, setting: Setting = SETTING, **body):
    """Take a step without signatures, and post what it does."""
    before = claim or Claim(filing=filing, state="draft", head=FIRST, count=0, filed_at=at(0), moved_at=at(0))
    step = Step(claim=filing.id, verb=verb, at=at(before.count), after=FIRST, body=body)
    moved = dataclasses.replace(before, state=STEPS[verb][1], count=before.count + 1)
    effect = effect_of(moved, step, books=books, setting=setting)
    books.post(effect.entries)
    return effect


def upheld(claim: Claim, amount: int) -> Claim:
    return dataclasses.replace(claim, decision=Decision(upheld=True, amount_minor=amount, reasons="so"))


def standing(books: Books, *names: str) -> list[int]:
    return [books.balance(name, "CNY").posted_minor for name in names]


def free(books: Books, *names: str) -> list[int]:
    return [books.balance(name, "CNY").available_minor for name in names]


def test_filing_holds_what_is_contested_and_leaves_the_rest():
    books = stocked(payable_a=5_000)
    held = do(books, None, "file").claim.held
    assert (held.holdback_minor, held.payable_minor) == (300, 700)
    assert (held.premiums_minor, held.mutual_minor) == (50, 250)
    assert free(books, "holdback:a", "payable:a", "reserve") == [0, 4_300, 750]
    assert standing(books, "holdback:a", "payable:a", "reserve", "suspense", "claims") == [300, 5_000, 1_050, 0, 0]


def test_only_the_contested_part_of_a_holdback_stops_waiting_for_its_day():
    books = stocked(holdback_a=1_600)
    books.post([waiting("s-1", "a", 900), waiting("s-2", "a", 700)])
    contested = dataclasses.replace(FILING, settlements=("s-2",))
    filed = do(books, None, "file", filing=contested).claim
    assert filed.held.holdback_minor == 1_000
    assert free(books, "holdback:a") == [0]
    assert {entry.id: entry.postings[1].amount_minor for entry in books.pending("holdback:a")} == {
        "claim/t-1/rest-1": 600,
        "claim/t-1/freeze": 1_000,
    }
    do(books, filed, "settle", filing=contested, amount_minor=300)
    later = list(books.pending("holdback:a"))
    assert [entry.details["due"] for entry in later] == [at(90), at(90)]
    assert sum(entry.postings[1].amount_minor for entry in later) == 1_300
    assert standing(books, "holdback:a", "payable:owner") == [1_300, 300]


@pytest.mark.parametrize("verb", ["reject", "withdraw", "close"])
def test_a_claim_that_fails_gives_everything_back(verb):
    books = stocked()
    before = books.balances()
    filed = do(books, None, "file").claim
    assert do(books, filed, verb, reasons="no").claim.held.reserve_minor == 0
    assert {key: amount for key, amount in books.balances().items() if amount} == before
    assert free(books, "holdback:a", "payable:a", "reserve") == [300, 200, 1_050]


def test_a_settlement_is_paid_from_the_holdback_and_frees_the_rest():
    books = stocked()
    filed = do(books, None, "file").claim
    do(books, filed, "settle", amount_minor=120)
    assert standing(books, "payable:owner", "holdback:a", "suspense") == [120, 180, 0]
    assert free(books, "holdback:a", "payable:a", "reserve") == [180, 200, 1_050]


def test_an_upheld_claim_uses_the_layers_in_order_and_charges_the_respondent():
    books = stocked()
    filed = do(books, None, "file").claim
    done = do(books, upheld(filed, 1_000), "conclude")
    covered = done.cover
    assert (covered.deductible_minor, covered.holdback_minor, covered.premiums_minor) == (100, 300, 50)
    assert (covered.tranche_minor, covered.mutual_minor) == (100, 250)
    assert (dict(covered.assessed_minor), covered.insurer_minor, covered.unpaid_minor) == ({"b": 30, "c": 60}, 0, 110)
    assert standing(books, "claims", "payable:a", "recovery:a") == [790, 200 - 1_800, 1_800 - 200]


def test_an_upheld_title_claim_voids_the_holdback_and_reallocates_what_is_freed():
    books = stocked(holdback_a=2_000, payable_a=100)
    filed = do(books, None, "file", filing=TITLE).claim
    done = do(books, upheld(filed, 400), "conclude", filing=TITLE)
    # deductible 40, holdback pays 360; of the 1,500 paid without right 1,140 go to b and c by their contributions
    assert done.cover.paid_minor == done.cover.holdback_minor == 360
    assert standing(books, "claims", "holdback:a", "reserve", "tranche") == [360, 1_000, 1_050, 100]
    assert standing(books, "payable:b", "payable:c") == [500 + 247, 500 + 493]
    assert standing(books, "payable:a", "recovery:a") == [100 - 500, 400]
    assert done.claim.debts == (
        Debt(rank=5, account="payable:b", amount_minor=133),
        Debt(rank=5, account="payable:c", amount_minor=267),
    )


def test_recovery_refills_the_reserve_first_and_hands_on_only_what_came_in():
    books = stocked(payable_a=0)
    filed = do(books, None, "file", setting=dataclasses.replace(SETTING, unright_minor=0)).claim
    done = do(books, upheld(filed, 1_000), "conclude", setting=dataclasses.replace(SETTING, unright_minor=0)).claim
    paid = do(books, done, "pay").claim
    assert standing(books, "payable:owner", "reserve") == [790, 750]
    assert recoverable(paid, books) == 0
    with pytest.raises(PoolError, match="expected at most 0, which it has brought or earned"):
        do(books, paid, "recover", amount_minor=1)
    books.post([entry("deposit", {"bank": -320, "payable:a": 320})])
    assert recoverable(paid, books) == 320
    after = do(books, paid, "recover", amount_minor=320).claim
    assert standing(books, "reserve", "tranche", "payable:a") == [1_050, 20, -280]
    assert after.owed_minor == 280


def test_debts_that_are_written_off_leave_nothing_behind():
    books = stocked()
    filed = do(books, None, "file").claim
    done = do(books, upheld(filed, 1_000), "conclude").claim
    do(books, done, "close", reasons="insolvent")
    assert standing(books, "recovery:a") == [0]
    assert standing(books, "payable:a")[0] == 0


def test_where_nobody_else_contributed_the_reserve_gets_what_was_paid_without_right():
    books = stocked(payable_a=5_000)
    alone = dataclasses.replace(SETTING, others_minor={})
    filed = do(books, None, "file", filing=TITLE, setting=alone).claim
    do(books, upheld(filed, 100), "conclude", filing=TITLE, setting=alone)
    assert standing(books, "reserve") == [1_050 + 1_500 - 90]


def test_the_exchange_answers_with_its_fee():
    filing = dataclasses.replace(FILING, kind="coordinator failure", respondent="exchange")
    books = stocked(fee=600)
    filed = do(books, None, "file", filing=filing).claim
    assert filed.held.holdback_minor == 600
    do(books, upheld(filed, 500), "conclude", filing=filing, setting=dataclasses.replace(SETTING, unright_minor=0))
    assert standing(books, "fee", "claims", "reserve") == [150, 450, 1_050]


def test_doing_a_step_twice_posts_nothing_twice():
    books = stocked()
    effect = do(books, None, "file")
    assert books.post(effect.entries).new == ()


@pytest.mark.parametrize(
    "change",
    [{"deductible_bp": -1}, {"deductible_bp": 10_001}, {"appeal_days": 4_000}, {"insurer_limit_minor": 10**16}],
)
def test_rates_out_of_range_are_refused(change):
    with pytest.raises(InvalidValue, match=f"claims.{next(iter(change))}"):
        ClaimTerms(**change)


HOLDERS = ("a", "b", "c")
#: Neither may ever have less than nothing to spend.
GUARDED = ("reserve", "claims", "tranche", "suspense", "fee", "escrow", *(f"holdback:{h}" for h in HOLDERS))


class Court:
    """Many claims at once, whose steps come in any order; what each does is posted, and everything is looked at."""

    def __init__(self) -> None:
        self.books = stocked(holdback_b=250, fee=80)
        self.claims: list[Claim] = []
        self.brought = 0

    def play(self, code: int, number: int) -> None:
        holder = HOLDERS[number % 3]
        match code % 8:
            case 0 | 1:
                self.file(holder, number)
            case 2:
                self.brought += 1
                self.books.post(
                    [entry(f"in/{self.brought}", {"receivable:buyer": -3 * number - 3, "reserve": number + 1,
                     f"payable:{holder}": number + 1, f"holdback:{holder}": number + 1})]
                )  # fmt: skip
                self.books.post([waiting(f"in/{self.brought}", holder, number + 1)])
            case 3 if number % 4 == 0:
                for pending in list(self.books.pending(f"holdback:{holder}")):
                    if pending.kind == "holdback":
                        self.books.post([post_pending(pending, id=f"{pending.id}/released", at=at(91))])
            case 3:
                self.pay_out(holder, number)
            case _:
                if self.claims:
                    self.step(number % len(self.claims), code // 8, number)

    def file(self, respondent: str, number: int) -> None:
        kind = ("title failure", "privacy breach", "coordinator failure")[number // 3 % 3]
        title = {"dataset": "d", "share_bp": 10_000} if kind == "title failure" else {}
        filing = Filing(
            id=f"c-{len(self.claims)}",
            kind=kind,
            claimant=HOLDERS[(number + 1) % 3] if number % 2 else "owner",
            respondent="exchange" if kind == "coordinator failure" else respondent,
            currency="CNY",
            amount_minor=number * 17 % 2_000 + 1,
            statement="so",
            **title,
        )
        self.claims.append(do(self.books, None, "file", filing=filing, setting=self.setting(number)).claim)

    def setting(self, number: int) -> Setting:
        return dataclasses.replace(
            SETTING, premiums_minor=0, unright_minor=number * 5, others_minor={"b": number % 3, "c": 1}
        )

    def pay_out(self, holder: str, number: int) -> None:
        amount = min(number + 1, self.books.balance(f"payable:{holder}", "CNY").available_minor)
        if amount > 0:
            self.brought += 1
            self.books.post(
                [entry(f"out/{self.brought}", {f"payable:{holder}": -amount, "bank": amount}, kind="payout")]
            )

    def step(self, which: int, choice: int, number: int) -> None:
        claim = self.claims[which]
        verbs = [verb for verb in may_follow(claim.state) if verb != "file"]
        if not verbs:
            return
        verb, body = verbs[choice % len(verbs)], {}
        upheld_now = claim.decision is not None and claim.decision.upheld
        if verb in ("conclude", "close") and claim.state in ("appeal_window", "decided_final"):
            verb = "conclude" if upheld_now else "close"
        if verb in ("decide", "decide_final"):
            amount = number * claim.filing.amount_minor // 255
            decision = Decision(upheld=amount > 0, amount_minor=amount, reasons="so")
            claim = dataclasses.replace(claim, decision=decision)
        if verb == "recover":
            body = {"amount_minor": min(recoverable(claim, self.books), number + 1)}
        if verb == "settle":
            body = {"amount_minor": min(claim.held.holdback_minor, number + 1)}
        if body == {"amount_minor": 0}:
            return
        self.claims[which] = do(
            self.books, claim, verb, filing=claim.filing, setting=self.setting(number), **body
        ).claim

    def check(self) -> None:
        balances = self.books.standings()
        assert sum(balance.posted_minor for balance in balances.values()) == 0
        for account in GUARDED:
            assert self.books.balance(account, "CNY").available_minor >= 0, account
        for holder in (*HOLDERS, "exchange"):
            charged = self.books.balance(accounts.recovery(holder), "CNY").posted_minor
            owed = sum(claim.owed_minor for claim in self.claims if claim.filing.respondent == holder)
            assert charged == owed
            assert charged + min(self.books.balance(accounts.payable(holder), "CNY").posted_minor, 0) >= 0
        reserved = sum(claim.held.reserve_minor for claim in self.claims)
        assert self.books.balance("reserve", "CNY").pending_out_minor == -reserved
        waiting = sum(claim.paid_minor for claim in self.claims if claim.state == "payable")
        assert self.books.balance("claims", "CNY").posted_minor == waiting
        assert self.books.balance("suspense", "CNY").posted_minor == 0


@settings(max_examples=2_000)
@given(st.binary(min_size=4, max_size=28))
def test_any_order_of_any_claims_leaves_the_pool_solvent_and_every_unit_accounted_for(moves):
    court = Court()
    for place in range(0, len(moves) - 1, 2):
        court.play(moves[place], moves[place + 1])
        court.check()
