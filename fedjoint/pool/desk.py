"""What can be done with a pool: each function decides from record and books what to record and to post.

Money that comes in is in :mod:`fedjoint.pool.receipts`, what goes back in :mod:`fedjoint.pool.corrections`. They are
pure: :meth:`fedjoint.pool.record_store_sql.PoolStore.act` calls them inside a transaction and writes what they
give. Doing something twice under the same id is refused or changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from typing import Any

from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.claim import Claim
from fedjoint.pool.claim_money import Effect, Standing, effect_of
from fedjoint.pool.claim_rules import advance
from fedjoint.pool.claim_step import SignedStep, moment_of
from fedjoint.pool.compute_costs import costs_minor
from fedjoint.pool.cover import split
from fedjoint.pool.facts import ClaimMoved, Opened, PaidOut, PartyRevoked, RunCosts, Settled
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.materiality import pay_alike
from fedjoint.pool.money import check_minor
from fedjoint.pool.record_change import Change, change_of
from fedjoint.pool.registered import Dataset, DatasetEvent, Party
from fedjoint.pool.registry import require_payable
from fedjoint.pool.setting import setting_of
from fedjoint.pool.settlement_entries import entries_of_settlement, released
from fedjoint.pool.shares import shares_from_contributions
from fedjoint.pool.state import PoolState, docket_of
from fedjoint.pool.waterfall import Period, Settlement, reserve_target, settle
from fedjoint.strict import plain, strict

__all__ = [
    "Settling",
    "add_dataset",
    "add_party",
    "move_claim",
    "note_dataset",
    "open_pool",
    "pay_out",
    "revoke_party",
    "settle_revenue",
    "target_of",
]

_YEAR = timedelta(days=365)


def open_pool(state: PoolState, opened: Opened, *, at: str) -> Change:
    """Write down the exchange and the rules, and bring in the exchange's own tranche.

    Raises:
        PoolError: the pool is open already, or the amount is none.
    """
    amount = check_minor("tranche", opened.tranche_minor, low=0)
    amounts = {accounts.BANK: -amount, accounts.TRANCHE: amount}
    entry = _entry("tranche/1", at, "deposit", opened.money.currency, amounts)
    return change_of(state, at, [("pool.opened", opened)], entry)


def add_party(state: PoolState, party: Party, *, at: str) -> Change:
    """Register a party.

    Raises:
        PoolError: as :meth:`fedjoint.pool.registry.Registry.with_party`.
    """
    return change_of(state, at, [("party.added", party)])


def revoke_party(state: PoolState, revoked: PartyRevoked, *, at: str) -> Change:
    """Revoke a party from a day on.

    Raises:
        PoolError: as :meth:`fedjoint.pool.registry.Registry.without_party`.
    """
    return change_of(state, at, [("party.revoked", revoked)])


def add_dataset(state: PoolState, dataset: Dataset, *, at: str) -> Change:
    """Register a dataset.

    Raises:
        PoolError: as :meth:`fedjoint.pool.registry.Registry.with_dataset`.
    """
    return change_of(state, at, [("dataset.added", dataset)])


def note_dataset(state: PoolState, event: DatasetEvent, *, at: str) -> Change:
    """Record what became of a dataset.

    Raises:
        PoolError: as :meth:`fedjoint.pool.registry.Registry.with_event`.
    """
    return change_of(state, at, [("dataset.event", event)])


@strict
@dataclass(frozen=True, kw_only=True)
class Settling:
    """A revenue that is to be divided.

    Args:
        id: Of the settlement, 1 to 80 characters.
        gross_minor: What is taken out of escrow, in minor units.
        contributions: By holder, in units of the utility.
        datasets: The dataset that each of them brought.
        sizes: Certified examples by holder; needed where the base part or the materiality rule goes by size.
        errors: Half width of each contribution's 95 % interval, if it is known.
        method: How contributions were measured, in words, if it is known.
        run_id: Of the run that earned the revenue, if it is known.
        agreement_sha256: Of that run's agreement; needed where compute costs are asked for.
        alike: Groups of holders whose contributions cannot be told apart: they are paid alike.
        costs: Metered costs of that run, signed by the holders.
    """

    id: str
    gross_minor: int
    contributions: Mapping[str, float]
    datasets: Mapping[str, str]
    sizes: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    method: str = ""
    run_id: str = ""
    agreement_sha256: str = ""
    alike: tuple[tuple[str, ...], ...] = ()
    costs: tuple[RunCosts, ...] = ()


def settle_revenue(state: PoolState, settling: Settling, *, books: Standing, at: str) -> tuple[Change, Settlement]:
    """Divide a revenue by the pool's rules among the holders whose datasets are valid that day.

    Raises:
        PoolError: settled already, too little in escrow, a dataset that may not be paid for, costs that are not as
            signed or were paid before, or as :func:`fedjoint.pool.waterfall.settle`.
    """
    terms = state.rules.money
    if settling.id in state.settlements:
        raise PoolError(f"'{settling.id}' is settled already", remedy="Nothing was changed.")
    _require_datasets(state, settling, at)
    room = max(
        target_of(state, at, settling.gross_minor) - books.balance(accounts.RESERVE, terms.currency).posted_minor, 0
    )
    by_contribution = shares_from_contributions(settling.contributions)
    sizes = settling.sizes if terms.materiality == "by_size" else None
    alike = settling.alike if terms.materiality != "off" else ()
    settlement = settle(
        settling.gross_minor,
        settling.contributions,
        terms=terms,
        brought=_brought(state),
        shares=pay_alike(by_contribution, alike, sizes=sizes),
        period=Period(sizes=settling.sizes, compute_minor=_costs(state, settling), reserve_room_minor=room),
    )
    body = _settled(settling, settlement)
    entries = entries_of_settlement(settlement, settling.id, terms=terms, at=at)
    return change_of(state, at, [("revenue.settled", body)], entries), settlement


def _settled(settling: Settling, settlement: Settlement) -> Settled:
    payouts = dict(settlement.payouts_minor)
    return Settled(
        id=settling.id,
        gross_minor=settling.gross_minor,
        contributions=dict(settling.contributions),
        datasets=dict(settling.datasets),
        sizes=dict(settling.sizes),
        errors=dict(settling.errors),
        method=settling.method,
        run_id=settling.run_id,
        agreement_sha256=settling.agreement_sha256,
        alike=settling.alike,
        costs=settling.costs,
        currency=settlement.currency,
        steps=settlement.steps,
        shares={holder: f"{share.numerator}/{share.denominator}" for holder, share in settlement.shares.items()},
        compute_minor=dict(settlement.compute_minor),
        payouts_minor=payouts,
        held_minor=dict(settlement.held_minor),
        premiums_minor=split(settlement.reserve_minor, {h: max(amount, 0) for h, amount in payouts.items()}),
        carried={holder: f"{left.numerator}/{left.denominator}" for holder, left in settlement.carried.items()},
    )


def _require_datasets(state: PoolState, settling: Settling, at: str) -> None:
    """Each holder has a dataset of its own that may be paid for on that day."""
    day = moment_of(at).date()
    for holder in settling.contributions:
        dataset = settling.datasets.get(holder, "")
        if state.registry.dataset(dataset).as_of(day).holder != holder:
            raise PoolError(f"dataset '{dataset}' is not that of '{holder}'")
        require_payable(state.registry, dataset, day=day)


def _costs(state: PoolState, settling: Settling) -> dict[str, int]:
    """What holders metered, once each is found to be signed by its holder and paid by no settlement before."""
    found: dict[str, int] = {}
    paid = {(c.signed.costs.run_id, c.signed.costs.holder) for _, s in state.settlements.values() for c in s.costs}
    for one in settling.costs:
        costs = one.signed.costs
        party = state.registry.parties.get(costs.holder)
        if party is None or costs.holder in found or (costs.run_id, costs.holder) in paid:
            raise PoolError(f"the costs of '{costs.holder}' in run '{costs.run_id[:80]}' were paid, or it is no party")
        found[costs.holder] = costs_minor(
            one.signed,
            party.identity,
            agreement_sha256=settling.agreement_sha256,
            rounds={settling.run_id: one.rounds},
            terms=state.rules.money,
        )
    return found


def target_of(state: PoolState, at: str, gross_minor: int = 0) -> int:
    """What the reserve should hold on a day, in minor units: by a year's revenue, and by the largest sum insured.

    Args:
        state: From the record.
        at: ISO 8601 in UTC.
        gross_minor: Revenue that is being settled, counted with the year's.
    """
    since = moment_of(at) - _YEAR
    year = sum(state.gross_of(name) for name, (when, _) in state.settlements.items() if moment_of(when) > since)
    insured = max((found.dataset.sum_insured_minor for found in state.registry.datasets.values()), default=0)
    return max(reserve_target(state.rules.money, year + gross_minor), insured)


def _brought(state: PoolState) -> dict[str, Fraction] | None:
    """The rounding remainders that the last settlement carried."""
    last = next(reversed(state.settlements.values()), None)
    return {holder: Fraction(left) for holder, left in last[1].carried.items()} if last is not None else None


def pay_out(state: PoolState, batch: str, *, books: Standing, at: str) -> Change:
    """Release the holdbacks whose window has ended, then pay every registered party what it is owed.

    Args:
        state: From the record.
        batch: Id of this payout: repeating it pays nobody and changes nothing.
        books: As they are.
        at: When, ISO 8601 in UTC.

    Raises:
        PoolError: malformed.
    """
    if batch in state.batches:
        return Change(at=at, events=(), after=state)
    currency, day = state.rules.money.currency, moment_of(at).date()
    freed = tuple(released(books.pending(), at=at))
    incoming: dict[str, int] = {}
    for entry in freed:
        for posting in entry.postings:
            incoming[posting.account] = incoming.get(posting.account, 0) + posting.amount_minor
    paid_out: dict[str, int] = {}
    for party in sorted(state.registry.parties):
        account = accounts.payable(party)
        owed = books.balance(account, currency).available_minor + incoming.get(account, 0)
        if owed > 0 and state.registry.valid_party(party, day):
            paid_out[party] = owed
    entries = list(freed)
    for party, amount in paid_out.items():
        amounts = {accounts.payable(party): -amount, accounts.BANK: amount}
        entries += _entry(f"payout/{batch}/{party}", at, "payout", currency, amounts)
    body = PaidOut(batch=batch, currency=currency, paid_minor=paid_out)
    return change_of(state, at, [("money.paid out", body)], tuple(entries))


def move_claim(state: PoolState, signed: SignedStep, *, books: Standing) -> tuple[Change, Effect]:
    """Take a claim's next step, with its money; an upheld title claim revokes the dataset.

    Raises:
        PoolError: as :func:`fedjoint.pool.claim_rules.advance` and :func:`fedjoint.pool.claim_money.effect_of`, or
            competing claims exceed the whole dataset and are held.
    """
    step = signed.step
    before = state.claims.get(step.claim)
    claim = advance(before, signed, docket_of(state, before))
    if claim.filing.currency != state.rules.money.currency:
        raise PoolError(f"a claim in {claim.filing.currency}", expected=f"one in {state.rules.money.currency}")
    if step.verb == "conclude":
        _require_no_excess(state, claim, step.at)
    effect = effect_of(claim, step, books=books, setting=setting_of(state, claim, step.at))
    covered = effect.cover
    moved = ClaimMoved(
        signed=signed,
        held=effect.claim.held,
        paid_minor=effect.claim.paid_minor,
        debts=effect.claim.debts,
        premiums_used_minor=covered.premiums_minor if covered else 0,
        mutual_used_minor=covered.mutual_minor if covered else 0,
        assessed_minor=sum(covered.assessed_minor.values()) if covered else 0,
        cover=plain(covered) if covered else None,
    )
    events: list[tuple[str, Any]] = [("claim.moved", moved)]
    dataset = claim.filing.dataset
    if step.verb == "conclude" and dataset is not None and not _has_ended(state, dataset):
        why = f"claim {claim.filing.id} upheld: registration revoked, licence terminated"
        day = moment_of(step.at).date().isoformat()
        ended = DatasetEvent(dataset=dataset, kind="revocation", effective=day, reason=why)
        events.append(("dataset.event", ended))
    return change_of(state, step.at, events, effect.entries), effect


def _has_ended(state: PoolState, dataset: str) -> bool:
    return any(event.kind in ("revocation", "cancellation") for event in state.registry.dataset(dataset).events)


def _require_no_excess(state: PoolState, claim: Claim, at: str) -> None:
    """Claims on one dataset that exceed the whole together are held, until all are decided or the window has ended."""
    dataset = claim.filing.dataset
    rivals = [c for c in state.claims.values() if dataset is not None and c.filing.dataset == dataset]
    standing = [c for c in rivals if c.filing.id != claim.filing.id and (c.is_open or c.paid_minor)]
    total = sum(c.filing.share_bp or 0 for c in (*standing, claim))
    latest = max((moment_of(c.filed_at) for c in standing), default=None)
    if total <= 10_000 or latest is None or not any(c.is_open for c in standing):
        return
    until = latest + timedelta(days=state.rules.claims.competing_days)
    if moment_of(at) <= until:
        raise PoolError(
            f"claims on dataset '{dataset}' add up to {total / 100:g} %",
            expected="at most 100 %",
            remedy=f"They are held until {until.date()} or until the others are decided.",
        )


def _entry(entry_id: str, at: str, kind: str, currency: str, amounts: Mapping[str, int]) -> tuple[Entry, ...]:
    postings = move(amounts)
    return (Entry(id=entry_id, at=at, kind=kind, currency=currency, postings=postings),) if postings else ()
