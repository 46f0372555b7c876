"""Rules against being paid for what others did: agreed before training, computed from what everybody may know.

**The known path.** Where a round goes on in the direction of the last one, anybody could have gone: that step was
opened. Whoever sends it again, and trained nothing, is paid for it by the path value like everybody else. Under the
rule ``by_size`` the path gradient is split along the last step's direction u: ``g = (g - <g, u> u) + <g, u> u``. By the
first part holders are valued on their ciphertexts as before. What the second gained, ``<g, u> <u, w' - w>``, is a
public number, shared by certified size among those who brought something of their own: whose first part is more than
a twentieth of their size's share of all such parts and, where an update's length is bounded, more than three standard
deviations of what noise of that length would have by chance, ``|d| |g| / sqrt(D)`` a round (unless, with so few
parameters and rounds, nobody has). Whoever replays the last step, in whatever multiple, sends nothing or sends noise,
is worth nothing. The price: so is a holder that trained and happened to add nothing new.

**Late joiners.** A holder whose first update comes after an agreed round counts for nothing.

What neither can catch: a holder that really trains and sends what it likes, on records nobody sees. A replay of older
steps, or one that is mixed with own training, is paid for what it adds.

Source: our own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedjoint.encryption.scratch import IN_MEMORY, Scratch, pieces, product

__all__ = ["entitled", "late_joiners", "share_known", "split_known"]

Vector = npt.NDArray[np.float64]

#: Less than this part of what its size would bring is nothing of a holder's own.
_OWN_PART = 0.05
#: So many standard deviations of a chance product are nothing either.
_BY_CHANCE = 3.0


def split_known(
    gradient: Vector, step: Vector, last_step: Vector, *, scratch: Scratch = IN_MEMORY
) -> tuple[Vector, float]:
    """Take the direction of the last round's step out of a path gradient.

    Args:
        gradient: Of the round, float64 [D].
        step: By which the model moved in it, float64 [D].
        last_step: By which it moved in the round before; zeros before the first.
        scratch: Where vectors as long as the model are kept.

    Returns:
        What holders are valued by, and what the round gained along the last step's direction.

    Guarantees:
        The first is orthogonal to ``last_step``; ``<first, step> + second`` is ``<gradient, step>``.

    Example:
        >>> novel, known = split_known(np.array([1.0, 2.0]), np.array([3.0, 1.0]), np.array([2.0, 0.0]))
        >>> novel.tolist(), known
        ([0.0, 2.0], 3.0)
    """
    length = math.sqrt(product(last_step, last_step))
    if not length:
        return gradient, 0.0
    along = product(gradient, last_step) / length
    novel = scratch.array("<f8", gradient.size)
    for piece in pieces(gradient.size, gradient, last_step, novel):
        novel[piece] = gradient[piece] - along * (last_step[piece] / length)
    return novel, along * product(last_step, step) / length


def share_known(
    known: Sequence[float], contributors: Sequence[Sequence[str]], weights: Mapping[str, float]
) -> dict[str, float]:
    """What the known path gained, shared by certified weight among the contributors of each round.

    Args:
        known: Round by round, the second result of :func:`split_known`.
        contributors: Who took part in each round.
        weights: Of every holder, above 0.

    Example:
        >>> share_known([3.0, 2.0], [("a", "b"), ("b",)], {"a": 2.0, "b": 1.0})
        {'a': 2.0, 'b': 3.0}
    """
    shares = dict.fromkeys(weights, 0.0)
    for gain, holders in zip(known, contributors, strict=True):
        present = sum(weights[holder] for holder in holders)  # of nobody: nothing is shared
        for holder in holders:
            shares[holder] += gain * weights[holder] / present
    return shares


def entitled(
    own: Mapping[str, float], weights: Mapping[str, float], *, by_chance: Mapping[str, float] | None = None
) -> frozenset[str]:
    """Who brought something of its own, and so has a part in the known path.

    Args:
        own: What each holder was valued at without the known path.
        weights: Of every holder, above 0.
        by_chance: Standard deviation of what noise as long as each holder's updates may be would have had; None: it is
            not known.

    Example:
        >>> sorted(entitled({"a": 0.5, "b": 0.0, "c": 0.005}, {"a": 1.0, "b": 1.0, "c": 1.0}))
        ['a']
        >>> sorted(entitled({"a": 0.5, "b": 0.2}, {"a": 1.0, "b": 1.0}, by_chance={"a": 0.1, "b": 0.1}))
        ['a']
    """
    total = sum(max(value, 0.0) for value in own.values()) / sum(weights.values())
    parts = frozenset(holder for holder, value in own.items() if value > _OWN_PART * weights[holder] * total)
    if by_chance is None:
        return parts
    return frozenset(holder for holder in parts if own[holder] > _BY_CHANCE * by_chance[holder]) or parts


def late_joiners(contributors: Sequence[Sequence[str]], latest_start: int | None) -> frozenset[str]:
    """Whose first update came after the agreed round; nobody where none was agreed.

    Args:
        contributors: Who took part in each round, from the first.
        latest_start: The last round in which a first update counts; None: any.

    Example:
        >>> sorted(late_joiners([("a", "b"), ("a", "b", "c")], 1))
        ['c']
    """
    if latest_start is None:
        return frozenset()
    early = {holder for holders in contributors[:latest_start] for holder in holders}
    return frozenset(holder for holders in contributors for holder in holders) - early
