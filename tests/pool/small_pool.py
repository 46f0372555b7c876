"""A pool in a database for tests: opened, with the consortium's parties and datasets registered."""

from __future__ import annotations

from typing import Any

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.pool import desk, receipts
from fedjoint.pool.facts import Deposited, Opened
from fedjoint.pool.record_change import Change
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.state import PoolState
from tests.pool.consortium import PEOPLE, ROLES, dataset, party

HOLDERS = ("a", "b", "c")
CONTRIBUTIONS = {"a": 3.0, "b": 2.0, "c": -1.0}


def at(month: int, day: int = 1) -> str:
    return f"2026-{month:02}-{day:02}T12:00:00Z"


class SmallPool:
    """Steps of a pool, each in one transaction."""

    def __init__(self, url: str = "sqlite://", **money: Any) -> None:
        self.store = PoolStore.open(url)
        opened = Opened(
            pool_id="small",
            exchange=PEOPLE["exchange"].public,
            money=MoneyTerms(**({"reserve_target_bp": 2_000} | money)),
            claims=ClaimTerms(),
            tranche_minor=1_000,
        )
        self.act(lambda state, _: desk.open_pool(state, opened, at=at(2)))
        self.act(lambda state, _: _registered(state))

    def act(self, decide: Any) -> Change:
        return self.store.act(lambda inside: decide(inside.state(), inside))

    def state(self) -> PoolState:
        return self.store.state()

    def balance(self, account: str, currency: str = "CNY") -> int:
        return self.store.ledger.balance(account, currency).posted_minor

    def deposit(self, name: str, amount: int, *, party: str = "buyer", when: str = at(3), **more: Any) -> Change:
        facts = Deposited(**({"id": name, "party": party, "amount_minor": amount, "currency": "CNY"} | more))
        return self.act(lambda state, books: receipts.deposit(state, facts, books=books, at=when))

    def settle(self, name: str, gross: int, when: str = at(4), **more: Any) -> Change:
        self.deposit(f"for-{name}", gross, when=when)
        facts = {"contributions": CONTRIBUTIONS, "datasets": {h: f"scans-{h}" for h in HOLDERS}} | more
        settling = desk.Settling(id=name, gross_minor=gross, **facts)
        return self.act(lambda state, books: desk.settle_revenue(state, settling, books=books, at=when)[0])


def _registered(state: PoolState) -> Change:
    """Everybody and everything in one step, which is quick."""
    events = []
    for name in ROLES:
        added = desk.add_party(state, party(name), at=at(2))
        state, events = added.after, [*events, *added.events]
    for name in HOLDERS:
        added = desk.add_dataset(state, dataset(f"scans-{name}", name), at=at(2))
        state, events = added.after, [*events, *added.events]
    return Change(at=at(2), events=tuple(events), after=state)
