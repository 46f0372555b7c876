"""Which sums of updates may be opened: none from which one holder's update could be solved.

Sums that were opened are linear equations in the holders' updates. Whoever knows them knows all their combinations; if
one combination has at most ``colluders + 1`` holders in it, all but one of these can subtract their own updates and
read the last one's. So opened sums must span no such combination but zero: as a code, their distance is
``colluders + 2`` at least. Computed in whole numbers, without rounding.

Within a round nobody's update changes, and all sums count together. From round to round it does, but late in training
by little: sums over different groups then add up to what they would have told within one round.

Source: So et al. (2023), Securing Secure Aggregation: Mitigating Multi-Round Privacy Leakage, AAAI.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedjoint.errors import InvalidValue, ValuationError

__all__ = ["Opened", "admit", "coalition_sum", "exposed_among"]

#: One sum: how often each holder's update is in it.
Coefficients = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What was opened so far.

    Args:
        holders: All holders of the run; coefficients are in this order.
        colluders: Up to so many holders may tell each other, or the coordinator, their own updates; at least 0.
        lasting: Whether updates count as the same in every round, as a cautious party takes them; if not, a round's
            sums are judged by themselves.
        sums: By round, what was admitted.

    Raises:
        InvalidValue: no holders, two of the same name, or colluders below 0.
    """

    holders: tuple[str, ...]
    colluders: int
    lasting: bool
    sums: Mapping[int, tuple[Coefficients, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.holders or len(set(self.holders)) != len(self.holders):
            raise InvalidValue(f"holders {list(self.holders)!r:.80}", expected="one or more distinct names")
        if self.colluders < 0:
            raise InvalidValue(f"colluders = {self.colluders}", expected="at least 0")


def coalition_sum(opened: Opened, members: Iterable[str]) -> Coefficients:
    """The sum of a coalition's updates, each once.

    Raises:
        ValuationError: a member who is no holder.

    Example:
        >>> coalition_sum(Opened(holders=("ahus", "bern", "cork"), colluders=0, lasting=True), ["cork", "ahus"])
        (1, 0, 1)
    """
    names = set(members)
    unknown = sorted(names - set(opened.holders))
    if unknown:
        raise ValuationError(f"'{unknown[0]}' in a coalition", expected="one of: " + ", ".join(opened.holders))
    return tuple(int(holder in names) for holder in opened.holders)


def admit(opened: Opened, round_number: int, sums: Sequence[Coefficients]) -> Opened:
    """Admit sums of a round's updates to be opened, all or none.

    Args:
        opened: What was admitted before. The sum of all contributors, which every round opens, must be admitted too.
        round_number: Of the updates.
        sums: What is to be opened, whole coefficients by holder.

    Returns:
        What counts as opened from now on. Keep it before anything is opened: what may have been seen counts as seen.

    Raises:
        ValuationError: one holder's update could be solved for; it names the holders who would learn it and whose.

    Guarantees:
        Any ``colluders`` holders who know their own updates and all sums admitted cannot compute another's update;
        under ``lasting`` not even if nobody's update had changed between rounds. Other knowledge is not covered.

    Example:
        >>> start = Opened(holders=("ahus", "bern", "cork"), colluders=1, lasting=True)
        >>> start = admit(start, 1, [coalition_sum(start, start.holders)])
        >>> admit(start, 1, [coalition_sum(start, ["ahus", "bern"])])
        Traceback (most recent call last):
        ...
        fedjoint.errors.ValuationError: the sums asked for in round 1 would give away the update of cork; ...
    """
    wrong = [one for one in sums if len(one) != len(opened.holders)]
    if wrong:
        raise ValuationError(f"a sum with {len(wrong[0])} coefficients", expected=f"{len(opened.holders)}")
    now = {**opened.sums, round_number: (*opened.sums.get(round_number, ()), *sums)}
    counted = [one for each in now.values() for one in each] if opened.lasting else now[round_number]
    group = exposed_among(counted, colluders=opened.colluders)
    if group is not None:
        first, *others = (opened.holders[place] for place in group)
        raise ValuationError(
            f"the sums asked for in round {round_number} would give away the update of {first}"
            + (f" to {' and '.join(others)}" if others else ""),
            expected=f"only combinations of {opened.colluders + 2} holders or more",
            remedy="Ask for larger blocks, or for the same blocks again.",
        )
    return replace(opened, sums=now)


def exposed_among(sums: Sequence[Coefficients], *, colluders: int) -> tuple[int, ...] | None:
    """The smallest group of holders of whom all but one could compute the last one's update.

    Args:
        sums: Whole coefficients by holder, all of the same length.
        colluders: Groups of up to ``colluders + 1`` are looked for; time grows with holders to the power of colluders.

    Returns:
        Places of the holders, or None if there is no such group.

    Example:
        >>> exposed_among([(1, 1, 1), (1, 1, 0)], colluders=0)
        (2,)
        >>> exposed_among([(1, 1, 1)], colluders=1) is None
        True
    """
    # A combination of the sums is what is orthogonal to all updates that the sums do not see: the null space. One with
    # the holders S in it is a linear dependence among the rows S of a basis of that space.
    rows = _null_space(sums)
    for size in range(1, min(colluders + 1, len(rows)) + 1):
        group = _dependent(rows, size)
        if group is not None:
            return group
    return None


def _null_space(sums: Sequence[Coefficients]) -> list[list[int]]:
    """A basis of all updates that make every sum zero, one row for each holder: [n][n - rank]."""
    holders = len(sums[0]) if sums else 0
    echelon: dict[int, list[int]] = {}  # by the place of its pivot, a row that is zero at all other pivots
    for one in sums:
        row = list(one)
        for place, known in echelon.items():
            row = _without(row, known, place)
        place = next((place for place, number in enumerate(row) if number), -1)
        if place >= 0:
            row = _primitive(row)
            echelon = {other: _without(known, row, place) for other, known in echelon.items()}
            echelon[place] = row
    free = [place for place in range(holders) if place not in echelon]
    common = math.lcm(*(row[place] for place, row in echelon.items()))
    return [
        [-echelon[holder][place] * (common // echelon[holder][holder]) for place in free]
        if holder in echelon
        else [common if place == holder else 0 for place in free]
        for holder in range(holders)
    ]


def _dependent(rows: Sequence[Sequence[int]], size: int) -> tuple[int, ...] | None:
    """Places of up to ``size`` linearly dependent rows."""
    seen: dict[tuple[int, ...], int] = {}
    for place, row in enumerate(rows):
        if not any(row):
            return (place,)
        if size == 2:  # one is a multiple of the other
            direction = tuple(_primitive(row))
            if direction in seen:
                return seen[direction], place
            seen[direction] = place
    if size > 2:
        for place, row in enumerate(rows):
            pivot = next(index for index, number in enumerate(row) if number)
            found = _dependent([_without(other, row, pivot) for other in rows[place + 1 :]], size - 1)
            if found is not None:
                return (place, *(place + 1 + other for other in found))
    return None


def _without(row: Sequence[int], known: Sequence[int], place: int) -> list[int]:
    """A multiple of ``row`` less one of ``known``, zero at a place where ``known`` is not."""
    if not row[place]:
        return list(row)
    return _primitive([known[place] * mine - row[place] * theirs for mine, theirs in zip(row, known, strict=True)])


def _primitive(row: Sequence[int]) -> list[int]:
    """The shortest whole multiple of a row, its first number positive."""
    divisor = math.gcd(*row) or 1
    first = next((number for number in row if number), 1)
    return [number // (divisor if first > 0 else -divisor) for number in row]
