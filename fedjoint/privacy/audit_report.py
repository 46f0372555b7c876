"""What an audit found, as frozen records that need no torch to be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from fedjoint.errors import InvalidValue
from fedjoint.strict import plain, strict

__all__ = ["AuditReport", "Inversion", "Membership", "Protection", "View"]

#: What the attacker holds: a holder's own update in the clear, the opened sum of a round, or one opened ciphertext.
View = Literal["update", "aggregate", "one_share"]

#: As agreed, or broken on purpose.
Protection = Literal["agreed", "noise off", "noise / 10", "no clipping"]


@strict
@dataclass(frozen=True, kw_only=True)
class Membership:
    """Guesses about which canaries took part.

    Args:
        view: What the attacker saw of each round.
        mechanism: ``agreed``, or how it was broken on purpose, as a test of the audit itself.
        claimed_epsilon: What the agreement states for that view; None without privacy.
        delta: Of the claim, and of the bound.
        canaries: Each took part by a fair coin.
        guesses: How many the attacker was to make, fixed before.
        correct: Right ones.
        lower_bound: The largest epsilon that they refute with 95 % confidence.
        provable_at_most: The bound if every guess were right: no claim above it can be refuted so.
    """

    view: View
    mechanism: Protection
    claimed_epsilon: float | None
    delta: float
    canaries: int
    guesses: int
    correct: int
    lower_bound: float
    provable_at_most: float

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.guesses <= self.canaries:
            raise InvalidValue(f"{self.correct} of {self.guesses} of {self.canaries}", expected="no more than the next")

    @property
    def refutes_claim(self) -> bool:
        """Whether the attacker did what the claimed epsilon rules out."""
        return self.claimed_epsilon is not None and self.lower_bound > self.claimed_epsilon

    @property
    def can_refute_claim(self) -> bool:
        """Whether any attack of this size could."""
        return self.claimed_epsilon is not None and self.provable_at_most > self.claimed_epsilon


@strict
@dataclass(frozen=True, kw_only=True)
class Inversion:
    """Records reconstructed from one update each.

    Args:
        view: What the attacker saw; ``update`` without noise is what encryption or noise must prevent.
        protected: Whether the agreed clipping and noise were on.
        records: Made-up records attacked, one at a time, each alone in its update: the easiest case.
        relative_error: Median of the error's norm over the record's; 0: exact, 1: as good as guessing zeros.
        resemblance: Median absolute cosine of record and guess; 1: the record up to its scale.
        chance: The same for guesses made of noise alone.
        original: One of the records.
        guess: What the attacker made of it, scaled to the record's norm where noise was on.
    """

    view: View
    protected: bool
    records: int
    relative_error: float
    resemblance: float
    chance: float
    original: tuple[float, ...]
    guess: tuple[float, ...]

    @property
    def recovered(self) -> bool:
        """Whether the attacker has the records, for all practical purposes."""
        return self.resemblance > 0.9


@strict
@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """An audit of the mechanism that one run agreed upon.

    Args:
        run: Name of the run's folder.
        agreement_sha256: Its agreement.
        mode: ``local``, ``joint`` or ``none``.
        unit: What is added or removed.
        insecure_noise: Whether the agreement lets everybody reproduce the noise.
        membership: The agreed mechanism, view by view, each followed by its broken versions.
        inversions: Without protection first.
        seconds: CPU time that the audit took.
    """

    format: Literal["fedjoint-audit-1"] = "fedjoint-audit-1"
    adjacency: Literal["add-or-remove"] = "add-or-remove"
    run: str
    agreement_sha256: str
    mode: Literal["local", "joint", "none"]
    unit: Literal["record", "patient"]
    insecure_noise: bool
    membership: tuple[Membership, ...]
    inversions: tuple[Inversion, ...]
    seconds: float

    @property
    def agreed(self) -> tuple[Membership, ...]:
        """The attacks on the mechanism as it was agreed."""
        return tuple(one for one in self.membership if one.mechanism == "agreed")

    @property
    def self_checks(self) -> tuple[Membership, ...]:
        """The attacks on mechanisms broken on purpose, which an audit that works must see through."""
        return tuple(one for one in self.membership if one.mechanism != "agreed")

    @property
    def claim_refuted(self) -> bool:
        """Whether an attacker did what the agreement rules out."""
        return any(one.refutes_claim for one in self.agreed)

    @property
    def self_check_failed(self) -> bool:
        """Whether a broken mechanism passed that an attack of this size could have caught."""
        return any(one.can_refute_claim and not one.refutes_claim for one in self.self_checks)

    @property
    def outcome(self) -> str:
        """One sentence."""
        if self.mode == "none":
            return "No privacy is claimed: this is what an attacker has."
        if self.claim_refuted:
            return "REFUTED: an attacker learned more than the agreed epsilon allows. Do not release this model."
        if self.self_check_failed:
            return "The audit did not work: a mechanism broken on purpose was not caught. Nothing can be said."
        if self.insecure_noise:
            return "No attack found, but the noise is reproducible by agreement: whoever reads it can subtract it."
        return "No attack found. That is no proof: another attack may do better."

    def to_bytes(self) -> bytes:
        """The report as JSON."""
        return json.dumps(plain(self), indent=1, sort_keys=True, allow_nan=False).encode()
