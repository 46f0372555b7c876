"""What the lines of a lifetime ledger come to: reservations, what each has released, and what is charged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from fedjoint.errors import BudgetExhausted, InvalidValue, PrivacyError
from fedjoint.privacy.events import Ledger, Release, Releases, costs, costs_if_opened
from fedjoint.privacy.lifetime import (
    LifetimeBudget,
    binding_measure,
    cut_off_allowed,
    epsilon_left,
    fits,
)
from fedjoint.strict import strict

__all__ = [
    "Charged",
    "Created",
    "GivenBack",
    "LifetimeAccount",
    "Limit",
    "Reservation",
    "Reserved",
    "Unit",
    "merged",
]

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
        budget: The limit of what all that is opened may cost.
        budget_if_opened: The limit of what it may cost if the holder's own ciphertexts were opened.

    Raises:
        InvalidValue: the cohort has no name.
    """

    cohort: str
    unit: Unit
    budget: LifetimeBudget
    budget_if_opened: LifetimeBudget

    def __post_init__(self) -> None:
        _require_name("cohort", self.cohort)


@strict
@dataclass(frozen=True, kw_only=True)
class Reserved:
    """A run's worst case is charged from here on.

    Args:
        lineage: The run, under one name however often it is taken up again; 1 to 200 letters.
        agreement_sha256: Under which it runs.
        releases: All that it may ever release, at least one.
        cut_off: Probability in [0, 1] with which noise of this run is cut off, so that it is not what its events say.

    Raises:
        InvalidValue: no name, nothing to reserve, or no probability.
    """

    lineage: str
    agreement_sha256: str
    releases: Releases
    cut_off: float = 0.0

    def __post_init__(self) -> None:
        _require_name("lineage", self.lineage)
        _require_name("agreement_sha256", self.agreement_sha256)
        if not self.releases:
            raise InvalidValue(f"nothing to reserve for run '{self.lineage}'", expected="at least one release")
        if not 0 <= self.cut_off <= 1:
            raise InvalidValue(f"cut_off = {self.cut_off}", expected="a probability")


@strict
@dataclass(frozen=True, kw_only=True)
class Charged:
    """Something is about to be released: this much of a reservation never comes back.

    Args:
        reservation: Its id.
        name: Which release of the run it is, ``round 7`` say, once under this name; 1 to 200 letters.
        release: What it is and costs.

    Raises:
        InvalidValue: it has no name.
    """

    reservation: str
    name: str
    release: Release

    def __post_init__(self) -> None:
        _require_name("name", self.name)


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
        released: What was released, or was about to be.
        names: Of these releases.
        is_open: Whether it was not given back.
    """

    id: str
    reserved: Reserved
    released: Releases = ()
    names: set[str] = field(default_factory=set)
    is_open: bool = True

    @property
    def charged(self) -> Releases:
        """What it costs the budget now: the worst case, or once given back what it has released."""
        return self.reserved.releases if self.is_open else self.released

    @property
    def cut_off(self) -> float:
        """Probability that noise was or will be cut off; none where nothing was released."""
        return self.reserved.cut_off if self.charged else 0.0


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One of the two sums that a ledger keeps below a limit.

    Args:
        words: What the limit is of, to follow "epsilon 8"; empty for what is opened.
        budget: The limit.
        spent: What was released.
        charged: What was released or is reserved.
        needed: What a further run would need.
    """

    words: str
    budget: LifetimeBudget
    spent: Ledger
    charged: Ledger
    needed: Ledger = ()

    @property
    def holds(self) -> bool:
        """Whether the limit would still be kept with what is needed."""
        return fits(self.budget, (*self.charged, *self.needed))


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
    def spent(self) -> Releases:
        """What was released, or may have been."""
        return merged(release for reservation in self.reservations for release in reservation.released)

    @property
    def charged(self) -> Releases:
        """What was released or is reserved: what the limits are held against."""
        return merged(release for reservation in self.reservations for release in reservation.charged)

    def limits(self, needed: Releases = ()) -> Iterator[Limit]:
        """Both limits, with what a further run would need."""
        created, spent, charged = self.created, self.spent, self.charged
        for words, budget, of in (
            ("", created.budget, costs),
            (" if its ciphertexts were opened", created.budget_if_opened, costs_if_opened),
        ):
            yield Limit(words=words, budget=budget, spent=of(spent), charged=of(charged), needed=of(needed))

    def open_reservation(self, lineage: str) -> Reservation | None:
        """The reservation that a run holds, if it holds one."""
        of_run = (r for r in self.reservations if r.is_open and r.reserved.lineage == lineage)
        return next(of_run, None)

    def require_room(self, wanted: Reserved) -> None:
        """Refuse a run that does not fit.

        Raises:
            BudgetExhausted: names what is spent, reserved, left and needed, and what to do.
        """
        for limit in self.limits(wanted.releases):
            if not limit.holds:
                raise self._exhausted(limit)
        cut_off = wanted.cut_off + sum(reservation.cut_off for reservation in self.reservations)
        if cut_off > cut_off_allowed(self.created.budget):
            raise BudgetExhausted(
                f"of the lifetime budget of cohort '{self.created.cohort}' (epsilon {self.created.budget.epsilon:g}) "
                "nothing is left of the part of delta that is kept for noise that is cut off",
                remedy="Agree on privacy=local, whose noise is not cut off, or keep a ledger with a lower epsilon.",
            )

    def _exhausted(self, limit: Limit) -> BudgetExhausted:
        budget = limit.budget
        measure = binding_measure(budget, (*limit.charged, *limit.needed))
        spent = measure.fraction(limit.spent)
        reserved, needed = measure.fraction(limit.charged) - spent, measure.fraction(limit.needed)
        return BudgetExhausted(
            f"of the lifetime budget of cohort '{self.created.cohort}' (epsilon {budget.epsilon:g}{limit.words}, delta "
            f"{budget.delta:g}, add-or-remove) {spent:.1%} is spent, {reserved:.1%} reserved and "
            f"{max(0.0, 1 - spent - reserved):.1%} left, and this run may need {needed:.1%}",
            expected=f"a run that costs at most epsilon {epsilon_left(budget, limit.charged):.3g} by itself",
            remedy="Agree on more noise or fewer rounds, or give back what ended runs have reserved (fedjoint holder "
            "budget FILE --give-back ID).",
        )

    def reserve(self, reservation_id: str, reserved: Reserved) -> None:
        """Open a reservation. Whether it fits is asked with :meth:`require_room`.

        Raises:
            PrivacyError: the run holds one already.
        """
        if reservation_id in self._reservations or self.open_reservation(reserved.lineage):
            raise PrivacyError(f"run '{reserved.lineage}' holds a reservation already")
        self._reservations[reservation_id] = Reservation(id=reservation_id, reserved=reserved)

    def is_charged(self, reservation_id: str, name: str) -> bool:
        """Whether a release of this run was charged before, under this reservation or an earlier one of its lineage.

        Raises:
            PrivacyError: there is no such reservation.
        """
        lineage = self._reservation(reservation_id).reserved.lineage
        return any(name in r.names for r in self.reservations if r.reserved.lineage == lineage)

    def charge(self, charged: Charged) -> None:
        """Charge what is about to be released.

        Raises:
            PrivacyError: the reservation is unknown or was given back, this was charged before, or it was not reserved.
        """
        reservation = self._open(charged.reservation)
        if self.is_charged(charged.reservation, charged.name):
            raise PrivacyError(
                f"{charged.name} of run '{reservation.reserved.lineage}' is charged already",
                remedy="Send what was sent before: computed again it would be another release.",
            )
        released = merged((*reservation.released, charged.release))
        more, most = _counts(released), _counts(reservation.reserved.releases)
        if any(count > most[kind] for kind, count in more.items()):
            raise PrivacyError(
                f"{charged.name} of run '{reservation.reserved.lineage}' releases more than was reserved",
                expected="the agreed noise, rate and number of steps",
                remedy="Reserve the worst case of the whole run before it starts.",
            )
        reservation.released = released
        reservation.names.add(charged.name)

    def give_back(self, given: GivenBack) -> None:
        """Close a reservation; what it has released stays charged.

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


def merged(releases: Iterable[Release]) -> Releases:
    """The same releases with one of each kind, in a fixed order.

    Example:
        >>> from fedjoint.privacy.events import GaussianEvent
        >>> step = GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0)
        >>> round_of = Release(purpose="training", event=step, if_opened=None)
        >>> [release.event.count for release in merged((round_of, round_of))]
        [2]
    """
    return tuple(kind.times(count) for kind, count in sorted(_counts(releases).items(), key=lambda item: repr(item[0])))


def _counts(releases: Iterable[Release]) -> Counter[Release]:
    counts: Counter[Release] = Counter()
    for release in releases:
        counts[release.times(1)] += release.event.count
    return counts


def _require_name(field_name: str, value: str) -> None:
    if not 0 < len(value) <= _MOST_LETTERS or not value.isprintable():
        raise InvalidValue(f"{field_name} = {value[:40]!r}", expected=f"1 to {_MOST_LETTERS} printable letters")
