"""Which records are set aside as the reference set, which are whose, and which holders take part: indices only."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.terms import MAX_HOLDERS
from fedjoint.data.records import Cells, Index
from fedjoint.errors import DataError

__all__ = [
    "Selection",
    "holder_id",
    "partition_by_holder",
    "select_holders",
    "split_reference",
]

_MAX_ID_LENGTH = 63


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which holders take part.

    Args:
        kept: Ids in alphabetical order.
        left_out: Ids and reasons, in alphabetical order.
        one_class: Ids among ``kept`` whose records all have one class: they take part, and a reader should know.
    """

    kept: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    one_class: tuple[str, ...]


def split_reference(
    holder_of: Cells, classes: NDArray[Any] | None, *, fraction: float, seed: int
) -> tuple[Index, Index]:
    """Choose the reference records, stratified by holder and class.

    Args:
        holder_of: The holder of each record.
        classes: The class of each record; None for a numeric target, then by holder only.
        fraction: Wanted in the reference set, of each holder's records; in (0, 0.9].
        seed: Of the choice.

    Returns:
        Records to train on and reference records, ascending; together every record once.

    Raises:
        DataError: the fraction or a length does not fit.

    Guarantees:
        Deterministic. Each holder gives the fraction of its records to the nearest whole number, spread over its
        classes as their sizes go, and keeps at least one.

    Example:
        >>> train, reference = split_reference(np.array(["A"] * 6, object), None, fraction=0.34, seed=0)
        >>> len(train), len(reference)
        (4, 2)
    """
    if not 0 < fraction <= 0.9:
        raise DataError(f"the reference fraction is {fraction}", expected="more than 0, at most 0.9")
    strata = np.zeros(len(holder_of)) if classes is None else classes
    if len(strata) != len(holder_of):
        raise DataError(f"{len(holder_of)} records have {len(strata)} targets", expected="one each")
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(holder_of), dtype=bool)
    for mine in _groups(holder_of).values():
        labels, counts = np.unique(strata[mine], return_counts=True)
        for label, take in zip(labels, _apportion(counts, fraction), strict=True):
            chosen[generator.permutation(mine[strata[mine] == label])[:take]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _apportion(counts: Index, fraction: float) -> Index:
    """Largest-remainder apportionment of the holder's reference records over its classes."""
    wanted = counts * fraction
    total = min(round(float(wanted.sum())), int(counts.sum()) - 1)
    take: Index = np.floor(wanted).astype(np.int64)
    by_remainder = np.argsort(take - wanted, kind="stable")
    take[by_remainder[: total - int(take.sum())]] += 1
    return take


def _groups(labels: Cells) -> dict[str, Index]:
    """The places of each label, labels in alphabetical order, places ascending."""
    distinct, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    places = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    return dict(zip(distinct.tolist(), places, strict=True))


def partition_by_holder(holder_of: Cells) -> dict[str, Index]:
    """The records of each holder, by id, ids in alphabetical order.

    Raises:
        DataError: two names give the same id.
    """
    names: dict[str, str] = {}
    groups = _groups(holder_of)
    for name in groups:
        other = names.setdefault(holder_id(name), name)
        if other != name:
            raise DataError(
                f"holders '{other}' and '{name}' are spelled too alike to tell apart",
                remedy="Spell one holder one way, and two holders differently.",
            )
    return {key: groups[names[key]] for key in sorted(names)}


def holder_id(name: str) -> str:
    """The id of a holder: its name in a-z, 0-9 and ``-``; a hash is added where the name does not survive that.

    Args:
        name: As in the table; any language.

    Returns:
        1 to 63 of a-z, 0-9, ``_``, ``-``, starting with a letter or digit.

    Raises:
        DataError: the name is empty.

    Example:
        >>> holder_id("VA Long Beach"), holder_id("Zürich"), holder_id("北京协和医院")
        ('va-long-beach', 'zurich', 'holder-974021c6')
    """
    if not name.strip():
        raise DataError("a holder has an empty name", remedy="Fill in the holder column.")
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    slug = re.sub(r"[^a-z0-9_]+", "-", bare.lower()).strip("-_")
    if slug and bare.isascii() and len(slug) <= _MAX_ID_LENGTH:
        return slug
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{slug[: _MAX_ID_LENGTH - 9].rstrip('-_') or 'holder'}-{digest}"


def select_holders(parts: Mapping[str, Index], classes: NDArray[Any] | None, *, minimum_examples: int) -> Selection:
    """Decide who has enough records to take part.

    Args:
        parts: Training records of each holder, by id.
        classes: The class of each record of the table; None for a numeric target.
        minimum_examples: At least 1.

    Returns:
        At most 200 holders, the largest if there are more; every other with its reason.

    Raises:
        DataError: ``minimum_examples`` is below 1, or fewer than two holders are left.
    """
    if minimum_examples < 1:
        raise DataError(f"minimum_examples is {minimum_examples}", expected="1 or more")
    reasons = {
        holder: f"fewer than {minimum_examples} training records"
        for holder, index in parts.items()
        if len(index) < minimum_examples
    }
    large = sorted((h for h in parts if h not in reasons), key=lambda holder: (-len(parts[holder]), holder))
    reasons |= dict.fromkeys(large[MAX_HOLDERS:], f"beyond the {MAX_HOLDERS} largest holders")
    kept = tuple(sorted(large[:MAX_HOLDERS]))
    if len(kept) < 2:
        raise DataError(
            f"{len(kept)} of {len(parts)} holders have at least {minimum_examples} training records",
            expected="two or more",
            remedy="Lower data.minimum_examples, or check data.holder.",
        )
    one_class = () if classes is None else tuple(h for h in kept if len(np.unique(classes[parts[h]])) == 1)
    return Selection(kept=kept, left_out=tuple(sorted(reasons.items())), one_class=one_class)
