"""Every kind of event that a pool's record can have, in one small pool."""

from __future__ import annotations

from typing import Any

from fedjoint.pool import corrections, desk, receipts
from fedjoint.pool.claim import Filing
from fedjoint.pool.claim_step import SignedStep, Step, file_step, sign_step
from fedjoint.pool.compute_costs import MeteredCosts, sign_costs
from fedjoint.pool.conversion import Rate
from fedjoint.pool.facts import (
    Converted,
    Earned,
    GivenBack,
    Invoice,
    PartyRevoked,
    Queries,
    Received,
    RunCosts,
    VoucherSpent,
)
from fedjoint.pool.registered import DatasetEvent
from fedjoint.pool.revenue import Subscription
from fedjoint.pool.vouchers import Voucher
from tests.pool.consortium import PEOPLE, digest
from tests.pool.small_pool import CONTRIBUTIONS, HOLDERS, SmallPool, at

RATE = Rate(of="USD", into="CNY", rate="7", source="a bank, 2026-03-01")


def live(url: str = "sqlite://") -> SmallPool:
    """A pool after a year in which everything happened."""
    pool = SmallPool(url, reserve_premium_bp=1_000, reserve_target_bp=10_000, cpu_hour_minor=3_600)

    def take(function: Any, facts: Any, when: str = at(3)) -> None:
        pool.act(lambda state, books: function(state, facts, books=books, at=when))

    take(receipts.fund_voucher, Voucher(id="v", subsidiser="buyer", currency="CNY", amount_minor=500, expires=at(4)))
    take(receipts.spend_voucher, VoucherSpent(voucher="v", id="run-0", holder="a", amount_minor=100))
    take(receipts.expire_voucher, "v", at(5))
    take(receipts.subscribe, Subscription(id="s", buyer="buyer", currency="CNY", amount_minor=900, num_periods=2))
    take(receipts.earn, Earned(subscription="s", period=1))
    invoice = Invoice(id="i", buyer="buyer", amount_minor=9_550)
    queries = Queries(meter="api", buyer="buyer", price_per_1000_minor=1_000, first=0, count=20_000)
    take(receipts.receive, Received(currency="CNY", invoices=(invoice,), queries=(queries,)))
    pool.deposit("usd", 10_000, currency="USD")
    take(corrections.convert, Converted(id="fx", amount_minor=10_000, rate=RATE))
    metered = MeteredCosts(holder="a", run_id="run-1", agreement_sha256=digest("g"), cpu_seconds=100)
    settling = desk.Settling(
        id="s1",
        gross_minor=100_000,
        contributions=CONTRIBUTIONS,
        datasets={holder: f"scans-{holder}" for holder in HOLDERS},
        sizes={"a": 10, "b": 10, "c": 10},
        errors=dict.fromkeys(HOLDERS, 0.25),
        method="Aumann-Shapley value",
        run_id="run-1",
        agreement_sha256=digest("g"),
        alike=(("a", "b"),),
        costs=(RunCosts(signed=sign_costs(metered, PEOPLE["a"]), rounds=3),),
    )
    pool.act(lambda state, books: desk.settle_revenue(state, settling, books=books, at=at(4))[0])
    given = GivenBack(settlement="s1", buyer="buyer", amount_minor=1_000, before_minor=0, how="refund")
    take(corrections.give_back, given, at(4, 2))
    pool.settle("s2", 1_000_000, at(4, 20))
    claim(pool)
    take(desk.pay_out, "may", at(5, 20))
    ended = DatasetEvent(dataset="scans-c", kind="revocation", effective="2026-06-01", reason="consent withdrawn")
    pool.act(lambda state, _: desk.note_dataset(state, ended, at=at(5, 21)))
    revoked = PartyRevoked(party="p6", effective="2026-06-01", reason="left")
    pool.act(lambda state, _: desk.revoke_party(state, revoked, at=at(5, 21)))
    take(desk.pay_out, "december", at(12))
    take(corrections.return_excess, "2026", "2027-05-02T12:00:00Z")
    return pool


def claim(pool: SmallPool) -> None:
    """A claim that is withdrawn."""
    filing = Filing(
        id="c-1",
        kind="quality misrepresentation",
        claimant="owner",
        respondent="a",
        currency="CNY",
        amount_minor=500,
        statement="labels are wrong",
    )
    first = file_step(filing, at(5, 2))
    signed = SignedStep(step=first, signatures={"owner": sign_step(first, PEOPLE["owner"])})
    pool.act(lambda state, books: desk.move_claim(state, signed, books=books)[0])
    step = Step(claim="c-1", verb="withdraw", at=at(5, 3), after=signed.sha256, body={"reasons": "settled between us"})
    then = SignedStep(step=step, signatures={"owner": sign_step(step, PEOPLE["owner"])})
    pool.act(lambda state, books: desk.move_claim(state, then, books=books)[0])
