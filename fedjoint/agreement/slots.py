"""In which order everything that a run encrypts takes its place under the run's key; no place is taken twice.

Statistics come first. A round's sum is opened while the next round is trained, and only then is the path known along
which holders' gradients are asked for: so the gradient of round t stands after the update of round t + 1. Metrics come
last.
"""

from __future__ import annotations

from typing import Literal

from fedjoint.agreement.terms import Terms

__all__ = ["Encrypted", "block_at", "block_slot", "contributions_slot", "final_slot", "last_slot", "slot_of"]

#: What a holder encrypts.
Encrypted = Literal["training", "statistics", "validation", "metrics"]


def slot_of(terms: Terms, purpose: Encrypted, number: int = 0) -> int:
    """The place of what is encrypted for a purpose.

    Args:
        terms: The agreement.
        purpose: What for.
        number: The round, from 1, of an update or of a validation gradient; else it does not count.

    Example:
        >>> from types import SimpleNamespace
        >>> terms = SimpleNamespace(validated_by_holders=True, training=SimpleNamespace(rounds=2))
        >>> [slot_of(terms, "statistics"), slot_of(terms, "training", 1), slot_of(terms, "training", 2)]
        [0, 2, 4]
        >>> [slot_of(terms, "validation", 1), slot_of(terms, "validation", 2), slot_of(terms, "metrics")]
        [5, 7, 8]
    """
    each = 2 if terms.validated_by_holders else 1
    if purpose == "statistics":
        return 0
    if purpose == "training":
        return each * number
    if purpose == "validation":
        return each * (number + 1) + 1
    return terms.training.rounds + 1 if each == 1 else slot_of(terms, "validation", terms.training.rounds) + 1


def last_slot(terms: Terms) -> int:
    """The last place that a run under these terms takes."""
    if terms.releases.metrics_noise_multiplier is not None:
        return slot_of(terms, "metrics")
    return slot_of(terms, "validation" if terms.validated_by_holders else "training", terms.training.rounds)


def contributions_slot(terms: Terms) -> int:
    """The place after all of these, of the contributions that are opened at the end: nothing is encrypted in it."""
    return last_slot(terms) + 1


def block_slot(terms: Terms, number: int, block: int) -> int:
    """The place of the sum of an agreed block of holders in a round; nothing is encrypted in it."""
    return contributions_slot(terms) + 1 + (number - 1) * len(terms.valuation.audit_blocks) + block


def block_at(terms: Terms, slot: int) -> tuple[int, int] | None:
    """Round and block of a place of :func:`block_slot`; None if it is another's."""
    if not contributions_slot(terms) < slot <= final_slot(terms):
        return None
    number, block = divmod(slot - contributions_slot(terms) - 1, len(terms.valuation.audit_blocks))
    return number + 1, block


def final_slot(terms: Terms) -> int:
    """The last place in which something is opened."""
    return contributions_slot(terms) + terms.training.rounds * len(terms.valuation.audit_blocks)
