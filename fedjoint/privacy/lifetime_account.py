"""What the lines of a lifetime ledger come to: reservations, what each has released, and what is charged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fedjoint.errors import BudgetExhausted, InvalidValue, PrivacyError
from fedjoint.privacy.events import GaussianEvent, Ledger
from fedjoint.privacy.lifetime import LifetimeBudget, binding_measure, epsilon_left, fits
from fedjoint.strict import strict

__all__ = ["Charged", "Created", "GivenBack", "LifetimeAccount", "Reservation", "Reserved", "Unit", "merged"]

#: Whose presence in the cohort is hidden: one record's, or all records' of one patient.
Unit: TypeAlias = Literal["record", "patient"]
_MOST_LETTERS = 200


@strict
@dataclass(frozen=True, kw_only=True)
class Created:
    """The first line of a ledger.

    Args:
        cohort: The name that the holder declares for these people's records, whatever file they lie in; 1 to 200
            letters.
        unit: Unit of privacy of every run charged here.
        budget: The limit.

    Raises:
        InvalidValue: the cohort has no name.
    """

    cohort: str
    unit: Unit
    budget: LifetimeBudget

    def __post_init__(self) -> None:
        _require_name("cohort", self.cohort)


@strict
@dataclass(frozen=True, kw_only=True)
class Reserved:
    """A run's worst case is charged from here on.

    Args:
        lineage: The run, under one name however often it is taken up again; 1 to 200 letters.
        agreement_sha256: Under which it runs.
        events: All that it may ever release, at least one event.

    Raises:
        InvalidValue: no name, or nothing to reserve.
    """

    lineage: str
    agreement_sha256: str
    events: Ledger

    def __post_init__(self) -> None:
        _require_name("lineage", self.lineage)
        _require_name("agreement_sha256", self.agreement_sha256)
        if not self.events:
            raise InvalidValue(f"nothing to reserve for run '{self.lineage}'", expected="at least one event")


@strict
@dataclass(frozen=True, kw_only=True)
class Charged:
    """A round is about to be released: this much of a reservation never comes back.

    Args:
        reservation: Its id.
        round: From 1.
        event: What the round releases.
    """

    reservation: str
    round: int
    event: GaussianEvent


@strict
@dataclass(frozen=True, kw_only=True)
class GivenBack:
    """A reservation ends: what it has not released is free again."""

    reservation: str


@dataclass(kw_only=True)
class Reservation:
    """One reservation and what became of it.

    Args:
        id: Its id.
        reserved: What was reserved, and for whom.
        released: What its rounds have released or were about to.
        rounds: Of these rounds.
        is_open: Whether it was not given back.
    """

    id: str
    reserved: Reserved
    released: Ledger = ()
    rounds: set[int] = field(default_factory=set)
    is_open: bool = True

    @property
    def charged(self) -> Ledger:
        """What it costs the budget now: the worst case, or once given back what it has released."""
        return self.reserved.events if self.is_open else self.released


class LifetimeAccount:
    """The state of a ledger. Each verb checks first, then changes.

    Args:
        created: The ledger's first line.
    """

    def __init__(self, created: Created) -> None:
        self.created = created
        self._reservations: dict[str, Reservation] = {}

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """All there ever were, in order."""
        return tuple(self._reservations.values())

    @property
    def spent(self) -> Ledger:
        """What was released, or may have been."""
        return merged(event for reservation in self.reservations for event in reservation.released)

    @property
    def charged(self) -> Ledger:
        """What was released or is reserved: what the limit is held against."""
        return merged(event for reservation in self.reservations for event in reservation.charged)

    def open_reservation(self, lineage: str) -> Reservation | None:
        """The reservation that a run holds, if it holds one."""
        of_run = (r for r in self.reservations if r.is_open and r.reserved.lineage == lineage)
        return next(of_run, None)

    def require_room(self, events: Ledger) -> None:
        """Refuse a run that does not fit.

        Raises:
            BudgetExhausted: names what is spent, reserved, left and needed, and what to do.
        """
        budget, charged = self.created.budget, self.charged
        after = merged((*charged, *events))
        if fits(budget, after):
            return
        measure = binding_measure(budget, after)
        spent = measure.fraction(self.spent)
        reserved, needed = measure.fraction(charged) - spent, measure.fraction(events)
        raise BudgetExhausted(
            f"of the lifetime budget of cohort '{self.created.cohort}' (epsilon {budget.epsilon:g}, delta "
            f"{budget.delta:g}) {spent:.1%} is spent, {reserved:.1%} reserved and {max(0.0, 1 - spent - reserved):.1%} "
            f"left, and this run may need {needed:.1%}",
            expected=f"a run that costs at most epsilon {epsilon_left(budget, charged):.3g} by itself",
            remedy="Give back what ended runs have reserved (fedjoint holder budget FILE --give-back ID), or agree on "
            "more noise or fewer rounds.",
        )

    def reserve(self, reservation_id: str, reserved: Reserved) -> None:
        """Open a reservation. Whether it fits is asked with :meth:`require_room`.

        Raises:
            PrivacyError: the run holds one already.
        """
        if reservation_id in self._reservations or self.open_reservation(reserved.lineage):
            raise PrivacyError(f"run '{reserved.lineage}' holds a reservation already")
        self._reservations[reservation_id] = Reservation(id=reservation_id, reserved=reserved)

    def is_charged(self, reservation_id: str, round_number: int) -> bool:
        """Whether a round of this run was charged before, under this reservation or an earlier one of its lineage.

        Raises:
            PrivacyError: there is no such reservation.
        """
        lineage = self._reservation(reservation_id).reserved.lineage
        return any(round_number in r.rounds for r in self.reservations if r.reserved.lineage == lineage)

    def charge(self, charged: Charged) -> None:
        """Charge a round that is about to be released.

        Raises:
            PrivacyError: the reservation is unknown or was given back, the round was charged before, or what it
                releases was not reserved.
        """
        reservation = self._open(charged.reservation)
        if charged.round < 1 or self.is_charged(charged.reservation, charged.round):
            raise PrivacyError(
                f"round {charged.round} of run '{reservation.reserved.lineage}' is charged already or is none",
                remedy="Send what was sent before: computed again it would be another release.",
            )
        released = merged((*reservation.released, charged.event))
        more, most = _counts(released), _counts(reservation.reserved.events)
        if any(count > most[kind] for kind, count in more.items()):
            raise PrivacyError(
                f"round {charged.round} of run '{reservation.reserved.lineage}' releases more than was reserved",
                expected="the agreed noise, rate and number of steps",
                remedy="Reserve the worst case of the whole run before it starts.",
            )
        reservation.released = released
        reservation.rounds.add(charged.round)

    def give_back(self, given: GivenBack) -> None:
        """Close a reservation; what its rounds have released stays charged.

        Raises:
            PrivacyError: it is unknown or was given back before.
        """
        self._open(given.reservation).is_open = False

    def _reservation(self, reservation_id: str) -> Reservation:
        if reservation_id not in self._reservations:
            raise PrivacyError(
                f"there is no reservation '{reservation_id}'", remedy="`fedjoint holder budget FILE` lists them."
            )
        return self._reservations[reservation_id]

    def _open(self, reservation_id: str) -> Reservation:
        reservation = self._reservation(reservation_id)
        if not reservation.is_open:
            raise PrivacyError(
                f"reservation '{reservation_id}' of run '{reservation.reserved.lineage}' was given back",
                remedy="Reserve again before anything is released.",
            )
        return reservation


def merged(events: Iterable[GaussianEvent]) -> Ledger:
    """The same releases with one event of each kind, sorted.

    Example:
        >>> step = GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0)
        >>> merged((step, step))
        (GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=2),)
    """
    return tuple(
        GaussianEvent(sampling_rate=rate, noise_multiplier=noise, count=count)
        for (rate, noise), count in sorted(_counts(events).items())
    )


def _counts(events: Iterable[GaussianEvent]) -> Counter[tuple[float, float]]:
    counts: Counter[tuple[float, float]] = Counter()
    for event in events:
        counts[event.sampling_rate, event.noise_multiplier] += event.count
    return counts


def _require_name(field_name: str, value: str) -> None:
    if not 0 < len(value) <= _MOST_LETTERS or not value.isprintable():
        raise InvalidValue(f"{field_name} = {value[:40]!r}", expected=f"1 to {_MOST_LETTERS} printable letters")
