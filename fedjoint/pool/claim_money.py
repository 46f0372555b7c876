"""What each step of a claim does to the books, as ledger entries; the store posts those of a step in one transaction.

| step | entries |
|---|---|
| file | pending: reserve to claims, within the caps; respondent's holdback and payable to suspense, if contested |
| reject, withdraw, close of a dismissed claim | both voided; the holdback waits for its day again |
| settle | the reserve's voided; of the frozen holdback the settled amount goes to the claimant, the rest returns |
| conclude | layers into claims; the respondent is charged what others bore for it and what it was paid without right |
| pay | claims to the claimant's payable |
| recover | what the respondent has brought or earned meanwhile, to those it owes: the reserve first |
| close with debts | the charge is taken back: written off |

A charge may leave the respondent's payable below zero. What it is charged stands in ``recovery:<respondent>`` and is
handed on only as far as the payable covers it, so that nobody is paid with money that is not there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.errors import PoolError
from fedjoint.pool import accounts
from fedjoint.pool.books import Balance
from fedjoint.pool.claim import Claim, Held
from fedjoint.pool.claim_step import Step
from fedjoint.pool.cover import Cover, Means, cover, debts_of, hold, pay_debts, split
from fedjoint.pool.ledger import Entry, Phase, move, post_pending, void_pending
from fedjoint.pool.settlement_entries import HOLDBACK

__all__ = ["Effect", "Setting", "Standing", "effect_of", "means_of", "recoverable"]


class Standing(Protocol):
    """Books, be they in memory or in a database."""

    def balance(self, account: str, currency: str) -> Balance:
        """What one account stands at."""

    def entry(self, entry_id: str) -> Entry | None:
        """One entry, if it is there."""

    def found(self, entry_ids: Sequence[str]) -> Mapping[str, Entry]:
        """Those of some entries that are there, by id."""

    def pending(self, account: str | None = None) -> Iterator[Entry]:
        """The pending entries that nothing resolved yet: all, or those with a posting to one account."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a step's money depends on beside the claim and the books, in minor units.

    Args:
        terms: The agreed rules.
        exchange: Party id of the coordinator.
        premiums_minor: What the respondent paid into the reserve, less what was returned, used or reserved.
        drawn_minor: What claims against it took or reserved of others' premiums in the last 365 days.
        assessable_minor: What each other holder can be assessed by the agreed cap; empty if it was done this year.
        tranche_part_bp: The part of the exchange's tranche that this claim may use beside others that are ripe.
        unright_minor: What the respondent was paid without right, if the claim is upheld.
        others_minor: Weights by which other holders share that, by the same settlements' contributions.
    """

    terms: ClaimTerms
    exchange: str
    premiums_minor: int = 0
    drawn_minor: int = 0
    assessable_minor: Mapping[str, int] = field(default_factory=dict)
    tranche_part_bp: int = 10_000
    unright_minor: int = 0
    others_minor: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A step's money.

    Args:
        claim: As after the step, with what it holds, pays and is owed.
        entries: To be posted together with the step.
        cover: The layers, when the claim becomes payable.
    """

    claim: Claim
    entries: tuple[Entry, ...] = ()
    cover: Cover | None = None


def means_of(claim: Claim, books: Standing, setting: Setting) -> Means:
    """The money that could stand in for a claim, as the books are now."""
    respondent, currency = claim.filing.respondent, claim.filing.currency

    def free(account: str) -> int:
        return max(books.balance(account, currency).available_minor, 0)

    assessable = {
        holder: min(amount, free(accounts.payable(holder)))
        for holder, amount in setting.assessable_minor.items()
        if holder not in (respondent, claim.filing.claimant)
    }
    releasing = sum(waits for _, waits in _releases(claim, books, setting))
    return Means(
        holdback_minor=free(_frozen_account(claim, setting)) + releasing,
        payable_minor=free(accounts.payable(respondent)),
        premiums_minor=setting.premiums_minor,
        reserve_minor=free(accounts.RESERVE),
        drawn_minor=setting.drawn_minor,
        tranche_minor=free(accounts.TRANCHE) * setting.tranche_part_bp // 10_000,
        assessable_minor={holder: amount for holder, amount in assessable.items() if amount},
    )


def recoverable(claim: Claim, books: Standing) -> int:
    """What can be handed on now of what the respondent owes for a claim: as far as its payable covers the charge."""
    respondent, currency = claim.filing.respondent, claim.filing.currency
    charged = books.balance(accounts.recovery(respondent), currency).available_minor
    short = min(books.balance(accounts.payable(respondent), currency).available_minor, 0)
    return min(max(charged + short, 0), claim.owed_minor)


def effect_of(claim: Claim, step: Step, *, books: Standing, setting: Setting) -> Effect:
    """The money of a step that :func:`fedjoint.pool.claim_rules.advance` has allowed.

    Args:
        claim: As after the step, its money still as before.
        step: The step.
        books: As they are before it, read in the same transaction.
        setting: What else is needed.

    Raises:
        PoolError: more is to be recovered than there is.

    Guarantees:
        Every entry balances; no account that holds money is taken below what it has available.
    """
    match step.verb:
        case "file":
            return _hold(claim, step, books, setting)
        case "reject" | "withdraw":
            return _let_go(claim, step, books, setting)
        case "settle":
            return _settle(claim, step, books, setting)
        case "conclude":
            return _conclude(claim, step, books, setting)
        case "pay":
            return Effect(claim=claim, entries=_pay(claim, step))
        case "recover":
            return _recover(claim, step, books)
        case "close":
            return _close(claim, step, books, setting)
        case _:
            return Effect(claim=claim)


def _hold(claim: Claim, step: Step, books: Standing, setting: Setting) -> Effect:
    held = hold(claim.filing.amount_minor, means_of(claim, books, setting), setting.terms)
    reserved = {accounts.RESERVE: -held.reserve_minor, accounts.CLAIMS: held.reserve_minor}
    frozen = {
        _frozen_account(claim, setting): -held.holdback_minor,
        accounts.payable(claim.filing.respondent): -held.payable_minor,
        accounts.SUSPENSE: held.frozen_minor,
    }
    stopped, due = _stop_releases(claim, step, books, setting, amount_minor=held.holdback_minor)
    return Effect(
        claim=dataclasses.replace(claim, held=held),
        entries=(
            *stopped,
            *_moved(claim, step, "reserve", reserved, phase="pending"),
            *_moved(claim, step, "freeze", frozen, phase="pending", details={"due": due} if due else {}),
        ),
    )


def _releases(claim: Claim, books: Standing, setting: Setting) -> list[tuple[Entry, int]]:
    """What is pending to bring the respondent's holdback to its payable, and how much: the contested ones first."""
    account, contested = _frozen_account(claim, setting), claim.filing.settlements
    waiting = [
        entry for entry in books.pending(account) if entry.kind == HOLDBACK and entry.currency == claim.filing.currency
    ]
    first = sorted(waiting, key=lambda entry: not entry.id.startswith(tuple(f"{name}/" for name in contested)))
    return [(entry, sum(max(posting.amount_minor, 0) for posting in entry.postings)) for entry in first]


def _stop_releases(
    claim: Claim, step: Step, books: Standing, setting: Setting, *, amount_minor: int
) -> tuple[list[Entry], str]:
    """Void as many releases as a freeze needs; what is not contested waits on as before.

    Returns:
        The entries, and the latest day on which what is frozen would have been released.
    """
    account = _frozen_account(claim, setting)
    left = amount_minor - max(books.balance(account, claim.filing.currency).available_minor, 0)
    stopped: list[Entry] = []
    dues: list[str] = []
    for number, (release, waits) in enumerate(_releases(claim, books, setting)):
        if left <= 0:
            break
        stopped.append(void_pending(release, id=_entry_id(claim, f"stopped-{number}"), at=step.at))
        dues.append(release.details["due"])
        if waits > left:
            stopped.extend(_release(claim, step, f"rest-{number}", setting, amount_minor=waits - left, due=dues[-1]))
        left -= waits
    return stopped, max(dues, default="")


def _release(
    claim: Claim, step: Step, name: str, setting: Setting, *, amount_minor: int, due: str
) -> tuple[Entry, ...]:
    """Have holdback wait for its day again."""
    amounts = {_frozen_account(claim, setting): -amount_minor, accounts.payable(claim.filing.respondent): amount_minor}
    return _moved(claim, step, name, amounts, phase="pending", kind=HOLDBACK, details={"due": due})


def _unfrozen(
    claim: Claim, step: Step, books: Standing, setting: Setting, *, taken_minor: int = 0
) -> tuple[Entry, ...]:
    """Resolve what is frozen: a part of the holdback is taken, and the rest waits for its day again."""
    taken = {_frozen_account(claim, setting): -taken_minor, accounts.SUSPENSE: taken_minor}
    frozen = books.entry(_entry_id(claim, "freeze"))
    due = frozen.details.get("due") if frozen is not None else None
    back = claim.held.holdback_minor - taken_minor
    again = _release(claim, step, f"{claim.count}-held", setting, amount_minor=back, due=due) if due else ()
    return (*_resolved(claim, step, "freeze", books, amounts=taken), *again)


def _settle(claim: Claim, step: Step, books: Standing, setting: Setting) -> Effect:
    amount = step.body["amount_minor"]
    given = {accounts.SUSPENSE: -amount, accounts.payable(claim.filing.claimant): amount}
    return Effect(
        claim=dataclasses.replace(claim, held=Held(), paid_minor=amount),
        entries=(
            *_resolved(claim, step, "reserve", books, amounts={}),
            *_unfrozen(claim, step, books, setting, taken_minor=amount),
            *_moved(claim, step, f"{claim.count}-given", given),
        ),
    )


def _conclude(claim: Claim, step: Step, books: Standing, setting: Setting) -> Effect:
    """Fill the claims account from the layers, charge the respondent, and hand on what its payable covers at once."""
    assert claim.decision is not None  # the state machine made sure
    filing, held = claim.filing, claim.held
    covered = cover(claim.decision.amount_minor, held, means_of(claim, books, setting), setting.terms)
    unright = max(setting.unright_minor - covered.holdback_minor, 0)
    freed = min(held.holdback_minor - covered.holdback_minor, unright)
    debts = debts_of(covered, claimant=filing.claimant, reallocated_minor=_reallocated(unright, setting))
    owed = sum(debt.amount_minor for debt in debts)
    payable = books.balance(accounts.payable(filing.respondent), filing.currency).available_minor
    at_once = freed + min(max(payable + held.payable_minor, 0), owed - freed)
    paid, left = pay_debts(debts, at_once)
    charged = accounts.recovery(filing.respondent)
    reserve = {accounts.RESERVE: -covered.reserve_minor, accounts.CLAIMS: covered.reserve_minor}
    charge = {accounts.payable(filing.respondent): freed - owed, charged: owed - freed}
    number = claim.count
    return Effect(
        claim=dataclasses.replace(claim, held=Held(), paid_minor=covered.paid_minor, debts=left),
        entries=(
            *_resolved(claim, step, "reserve", books, amounts=reserve),
            *_unfrozen(claim, step, books, setting, taken_minor=covered.holdback_minor + freed),
            *_moved(claim, step, f"{number}-layers", {**_layers(covered, freed), charged: freed}),
            *_moved(claim, step, f"{number}-charge", charge),
            *_moved(claim, step, f"{number}-recovered", {charged: -at_once, **paid}),
        ),
        cover=covered,
    )


def _layers(covered: Cover, freed_minor: int) -> dict[str, int]:
    """Out of every layer but the reserve into claims; and what is freed of the holdback leaves suspense too."""
    return {
        accounts.SUSPENSE: -covered.holdback_minor - freed_minor,
        accounts.TRANCHE: -covered.tranche_minor,
        **{accounts.payable(holder): -amount for holder, amount in covered.assessed_minor.items()},
        accounts.INSURER: -covered.insurer_minor,
        accounts.CLAIMS: covered.paid_minor - covered.reserve_minor,
    }


def _reallocated(unright_minor: int, setting: Setting) -> dict[str, int]:
    """What the other holders are to get, by account; where no other contributed, the reserve is."""
    if not any(setting.others_minor.values()):
        return {accounts.RESERVE: unright_minor}
    parts = split(unright_minor, setting.others_minor)
    return {accounts.payable(holder): amount for holder, amount in parts.items()}


def _pay(claim: Claim, step: Step) -> tuple[Entry, ...]:
    claimant = accounts.payable(claim.filing.claimant)
    return _moved(claim, step, f"{claim.count}-paid", {accounts.CLAIMS: -claim.paid_minor, claimant: claim.paid_minor})


def _recover(claim: Claim, step: Step, books: Standing) -> Effect:
    amount, most = step.body["amount_minor"], recoverable(claim, books)
    if amount > most:
        raise PoolError(
            f"{amount} minor units are to be recovered from '{claim.filing.respondent}'",
            expected=f"at most {most}, which it has brought or earned",
            remedy="Deposit its payment first: fedjoint pool deposit.",
        )
    paid, left = pay_debts(claim.debts, amount)
    source = accounts.recovery(claim.filing.respondent)
    entries = _moved(claim, step, f"{claim.count}-recovered", {source: -amount, **paid})
    return Effect(claim=dataclasses.replace(claim, debts=left), entries=entries)


def _close(claim: Claim, step: Step, books: Standing, setting: Setting) -> Effect:
    """Void what a dismissed claim held, or write off what an upheld one is still owed."""
    owed, respondent = claim.owed_minor, claim.filing.respondent
    if not owed:
        return _let_go(claim, step, books, setting)
    back = {accounts.recovery(respondent): -owed, accounts.payable(respondent): owed}
    entries = _moved(claim, step, f"{claim.count}-written-off", back)
    return Effect(claim=dataclasses.replace(claim, debts=()), entries=entries)


def _let_go(claim: Claim, step: Step, books: Standing, setting: Setting) -> Effect:
    """Give up what is pending for a claim."""
    voided = (*_resolved(claim, step, "reserve", books, amounts={}), *_unfrozen(claim, step, books, setting))
    return Effect(claim=dataclasses.replace(claim, held=Held()), entries=voided)


def _frozen_account(claim: Claim, setting: Setting) -> str:
    """Where the respondent's own money stands first: a holder's holdback, the exchange's fee."""
    respondent = claim.filing.respondent
    return accounts.FEE if respondent == setting.exchange else accounts.holdback(respondent)


def _resolved(claim: Claim, step: Step, name: str, books: Standing, *, amounts: Mapping[str, int]) -> tuple[Entry, ...]:
    """Post a part of what is pending for a claim, or void it if the part is nothing; nothing if nothing is pending."""
    waits = claim.held.reserve_minor if name == "reserve" else claim.held.frozen_minor
    pending = books.entry(_entry_id(claim, name)) if waits else None
    if pending is None:
        return ()
    new_id = _entry_id(claim, f"{claim.count}-{name}")
    if not any(amounts.values()):
        return (void_pending(pending, id=new_id, at=step.at),)
    return (post_pending(pending, id=new_id, at=step.at, amounts=amounts),)


def _moved(
    claim: Claim, step: Step, name: str, amounts: Mapping[str, int], *, phase: Phase = "posted", **more: Any
) -> tuple[Entry, ...]:
    """One entry, or none if it would move nothing."""
    postings, filing = move(amounts), claim.filing
    if not postings:
        return ()
    facts: dict[str, Any] = {
        "id": _entry_id(claim, name),
        "at": step.at,
        "kind": f"claim {step.verb}".replace("_", " "),
        "currency": filing.currency,
        "memo": f"claim {filing.id}: {filing.claimant} against {filing.respondent}",
        "postings": postings,
        "phase": phase,
    }
    return (Entry(**(facts | more)),)


def _entry_id(claim: Claim, name: str) -> str:
    return f"claim/{claim.filing.id}/{name}"
