"""What a claim is: who demands how much of whom and why, and how far the matter has come."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from fedjoint.errors import PoolError
from fedjoint.pool.accounts import payable
from fedjoint.pool.money import check_minor, minor_digits
from fedjoint.strict import strict

__all__ = [
    "OPEN",
    "STATES",
    "Claim",
    "ClaimKind",
    "Debt",
    "Decision",
    "Filing",
    "Held",
    "State",
    "check_hashes",
    "check_words",
]

ClaimKind = Literal[
    "title failure", "quality misrepresentation", "privacy breach", "coordinator failure", "valuation error"
]
State = Literal[
    "draft",
    "filed",
    "rejected_formal",
    "admitted",
    "evidence",
    "adjudication",
    "decided",
    "appeal_window",
    "appealed",
    "decided_final",
    "payable",
    "paid",
    "recovery",
    "closed",
    "withdrawn",
    "settled",
]
STATES: tuple[State, ...] = get_args(State)
#: States in which money is held for a claim that nobody has decided for good.
OPEN: tuple[State, ...] = (
    "filed",
    "admitted",
    "evidence",
    "adjudication",
    "decided",
    "appeal_window",
    "appealed",
    "decided_final",
)
MAX_WORDS = 2_000
_MAX_ITEMS = 100
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_words(name: str, words: str) -> None:
    """Refuse an empty or endless text.

    Raises:
        PoolError: not 1 to 2,000 characters.
    """
    if not 1 <= len(words) <= MAX_WORDS:
        raise PoolError(f"{name} has {len(words)} characters", expected=f"1 to {MAX_WORDS}")


def check_hashes(name: str, hashes: tuple[str, ...]) -> None:
    """Refuse what is no SHA-256, or too many of them.

    Raises:
        PoolError: malformed, or more than 100.
    """
    if len(hashes) > _MAX_ITEMS or not all(_SHA256.fullmatch(digest) for digest in hashes):
        raise PoolError(f"{name} are malformed", expected=f"at most {_MAX_ITEMS} times 64 lower-case hex digits")


@strict
@dataclass(frozen=True, kw_only=True)
class Filing:
    """What a claimant demands, in its own words; the claimant's signature of it files the claim.

    Args:
        id: 1 to 41 of a-z, 0-9, ``-``; no two claims have the same.
        kind: What is said to have gone wrong.
        claimant: Party id.
        respondent: Party id of the holder, or the exchange, that is to answer for it.
        currency: ISO 4217 code.
        amount_minor: What is demanded, from 1 minor unit.
        statement: Why.
        evidence: SHA-256 of each document; the documents stay with the parties.
        dataset: Id of the dataset whose title is contested.
        share_bp: The part of that dataset that is said to be the claimant's, 1 to 10,000.
        settlements: Ids of the settlements in which the respondent was paid for it.

    Raises:
        PoolError: malformed, a claim against oneself, or a title claim without dataset.
    """

    id: str
    kind: ClaimKind
    claimant: str
    respondent: str
    currency: str
    amount_minor: int
    statement: str
    evidence: tuple[str, ...] = ()
    dataset: str | None = None
    share_bp: int | None = None
    settlements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise PoolError(f"claim id '{self.id[:80]}'", expected=f"a match of {_ID.pattern}")
        payable(self.claimant)
        payable(self.respondent)
        if self.claimant == self.respondent:
            raise PoolError(f"'{self.claimant}' claims against itself", expected="another respondent")
        minor_digits(self.currency)
        check_minor("claimed amount", self.amount_minor, low=1)
        check_words("a claim's statement", self.statement)
        check_hashes("a claim's evidence hashes", self.evidence)
        if len(self.settlements) > _MAX_ITEMS or len(set(self.settlements)) != len(self.settlements):
            raise PoolError("a claim's settlements are too many or stand twice", expected=f"at most {_MAX_ITEMS}")
        titled = self.dataset is not None and self.share_bp is not None
        if (self.kind == "title failure") != titled or (not titled and (self.dataset or self.share_bp)):
            raise PoolError(
                f"a claim of {self.kind} with dataset {self.dataset} and share {self.share_bp}",
                expected="both for a title failure, none for any other",
            )
        if self.share_bp is not None and not 1 <= self.share_bp <= 10_000:
            raise PoolError(f"a claimed share of {self.share_bp} basis points", expected="1 to 10000")


@strict
@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a panel decided.

    Args:
        upheld: Whether the claim is right.
        amount_minor: What the claimant is due before its deductible: 0 if dismissed.
        reasons: In words.
    """

    upheld: bool
    amount_minor: int
    reasons: str

    def __post_init__(self) -> None:
        check_minor("decided amount", self.amount_minor, low=0)
        check_words("a decision's reasons", self.reasons)
        if self.upheld != (self.amount_minor > 0):
            raise PoolError(
                f"a decision {'for' if self.upheld else 'against'} the claim of {self.amount_minor} minor units",
                expected="an amount above 0 if upheld, 0 if dismissed",
            )


@strict
@dataclass(frozen=True, kw_only=True)
class Held:
    """What is held for a claim until it is decided, in minor units: never more than what is contested.

    Args:
        premiums_minor: Of the reserve, pending: what the respondent itself paid in.
        mutual_minor: Of the reserve, pending: what others paid in, within the agreed caps.
        holdback_minor: Of the respondent's holdback (of the fee, if the exchange is the respondent).
        payable_minor: Of the respondent's payable.
    """

    premiums_minor: int = 0
    mutual_minor: int = 0
    holdback_minor: int = 0
    payable_minor: int = 0

    @property
    def reserve_minor(self) -> int:
        """Of the reserve in all."""
        return self.premiums_minor + self.mutual_minor

    @property
    def frozen_minor(self) -> int:
        """Of the respondent's own money."""
        return self.holdback_minor + self.payable_minor


@strict
@dataclass(frozen=True, kw_only=True)
class Debt:
    """What a respondent owes to one account because of an upheld claim, in minor units.

    Args:
        rank: Lower ranks are paid first; within one, pro rata.
        account: Who gets it.
        amount_minor: How much is left of it.
    """

    rank: int
    account: str
    amount_minor: int


@strict
@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim as its transitions have made it.

    Args:
        filing: What is demanded.
        state: How far the matter has come.
        head: SHA-256 of the last signed transition: the next one names it.
        count: Number of transitions so far.
        filed_at: When, ISO 8601 in UTC.
        moved_at: When the last transition was made.
        panel: Who adjudicates; after an appeal, who adjudicated first.
        appeal_panel: Who decides the appeal.
        decision: The latest.
        window_ends: The last day on which the decision may be appealed against, ``YYYY-MM-DD``.
        held: What is held for it.
        paid_minor: What the claimant is paid, once that is known.
        debts: What the respondent still owes because of it, in the order in which recovery pays.
    """

    filing: Filing
    state: State
    head: str
    count: int
    filed_at: str
    moved_at: str
    panel: tuple[str, ...] = ()
    appeal_panel: tuple[str, ...] = ()
    decision: Decision | None = None
    window_ends: str | None = None
    held: Held = Held()
    paid_minor: int = 0
    debts: tuple[Debt, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it is filed and not decided for good."""
        return self.state in OPEN

    @property
    def owed_minor(self) -> int:
        """What the respondent still owes because of it."""
        return sum(debt.amount_minor for debt in self.debts)
