"""Contributions added up under encryption: each round's path gradient is folded into each holder's ciphertext.

It is the same ciphertext that was added to the sum, so a holder is valued for what it really sent. One number for each
holder is opened, once, at the end of the run, under a mask that hides it from the holders who open it.

**What is lost.** Weights ``a_t`` are rounded to integers ``G_t`` at a scale f. With ``e_t = a_t - G_t / f`` for what
rounding leaves, a contribution is off by ``sum_t <e_t, d_t>``. Each coordinate of ``e_t`` is about uniform within 1 /
(2 f), so that the deviation is ``sqrt(sum_t |d_t|^2 / 12) / f``; and f is at most the norm that the ciphertext's noise
and plaintext leave room for (``weight_norm_budget``) over ``H sqrt(T) |a_1|`` with a headroom H. Relative to a
contribution ``|a| |d| cos`` in each of T rounds that is ``H / (budget cos sqrt(12))``: worst where holders pull apart
and cos is small. Two things keep it down. The headroom is no larger than gradients usually grow. And what a round
leaves is carried to the next, ``G_t = rint(f (a_t + e_{t-1}))``; then ``sum_t <e_t - e_{t-1}, d_t> = <e_T, d_T> +
sum_{t<T} <e_t, d_t - d_{t+1}>``, and a holder's updates resemble each other from round to round (correlation 0.9 and
more on digits with two local epochs). With unrelated updates it would be sqrt(2) times larger than without; with
privacy noise in them it is far below that noise.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import CONTRIBUTION_NOISES
from fedjoint.agreement.valuation_terms import ERROR_BITS
from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.dot import (
    MaskedSample,
    Sample,
    add_samples,
    canary_sample,
    dots_of_rows,
    fits,
    largest_factor,
    mask_sample,
    norm_above,
    scale_weights,
    squared_norm,
    unmask,
)
from fedjoint.encryption.opened import CANARY
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.scratch import IN_MEMORY, Scratch, pieces, product
from fedjoint.errors import ValuationError
from fedjoint.valuation.encrypted_errors import EncryptedErrors, OpenedError
from fedjoint.valuation.saved import SavedContributions, SavedPart, SavedSample, polynomials_of, with_polynomials

__all__ = [
    "EncryptedContributions",
    "MaskedContribution",
    "OpenedContribution",
    "contribution_of",
]

#: Gradients may be so many times as long as the first one's, in the root of their mean square, before a second part is
#: started, and as many times as that one's first before a third is: one that grows 8,000 times ends in the fourth.
_HEADROOM = (2.0, 4.0, 16.0, 64.0)
#: Where noise weighs in a contribution every single gradient has to stay below it, so that there is more room at first.
_NOISY_HEADROOM = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedContribution:
    """What holders are given to open: one part of one holder's contribution, or the canary (``CANARY`` as holder).

    With ``error`` from 1 it is a number for the contribution's error instead.
    """

    holder: str
    part: int
    sample: MaskedSample
    error: int = 0


@dataclass(frozen=True, kw_only=True)
class OpenedContribution:
    """One part of a contribution as holders opened it, with all that is needed to compute it again.

    Args:
        holder: Whose it is; ``CANARY``: the number of updates of the first round, whose contribution is 1.
        part: From 0.
        opened: What the holders returned, in [0, t).
        mask: What the coordinator had added, in [0, t).
        factor: Scale of the integer weights.
    """

    holder: str
    part: int
    opened: int
    mask: int
    factor: float


@dataclass(kw_only=True)
class _Part:
    factor: float
    samples: dict[str, Sample] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Weight:
    """Sums over rounds of squared weights, in units of the utility for one level: of an update, of noise for it."""

    update: float = 0.0
    noise: float = 0.0


class EncryptedContributions:
    """The contributions of a run, encrypted; held by the coordinator, who has no key.

    Args:
        parameters: Of the run's encryption.
        noise_weight: None, or, where the last two coordinates of every update are noise for its contribution, the most
            that they may weigh (:mod:`fedjoint.privacy.joint_plan`).
        errors: Keeps the numbers for errors beside them; None: none were agreed.
        random_below: Gives a uniform integer below its argument; must be unpredictable.
        scratch: Where vectors as long as the model are kept.

    Guarantees:
        Each holder's contribution is one encrypted number for as long as the gradients stay within twice the first
        one's length (in the root of their mean square; with noise of its own each within 4 times); beyond that further
        parts are started, and :attr:`num_parts` says how many numbers will be opened.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        noise_weight: int | None = None,
        errors: EncryptedErrors | None = None,
        random_below: Callable[[int], int] = secrets.randbelow,
        scratch: Scratch = IN_MEMORY,
    ) -> None:
        self._parameters, self._noise_weight, self._random_below = parameters, noise_weight, random_below
        self._scratch = scratch
        self._errors = EncryptedErrors(parameters, numbers=0, bits=ERROR_BITS) if errors is None else errors
        self._parts: list[_Part] = []
        self._masks: dict[tuple[str, int], int] = {}
        self._weights: dict[str, _Weight] = {}
        #: What rounding left of the last round's weights, float64 [D]; None before the first.
        self.left: npt.NDArray[np.float64] | None = None

    @property
    def _blind(self) -> int:
        """How many of an update's last coordinates are noise for numbers of its own: first of all its contribution."""
        return 0 if self._noise_weight is None else CONTRIBUTION_NOISES * (1 + self._errors.numbers)

    @property
    def num_parts(self) -> int:
        """How many numbers of a holder will be opened."""
        return len(self._parts)

    def add_round(
        self,
        updates: Mapping[str, Ciphertext],
        gradient: npt.NDArray[np.float64],
        *,
        rate: float,
        contrasts: Sequence[npt.NDArray[np.floating]] = (),
        longest: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Add the contributions of one round.

        Args:
            updates: Each contributor's ciphertext, as it was added to the round's sum.
            gradient: The round's path gradient, float64 [D] (:func:`fedjoint.valuation.aumann_shapley.path_gradient`).
            rate: What the round multiplied decrypted updates with before adding them to the model.
            contrasts: The same along each number's contrast between groups of records, [D].
            longest: Where there are any, holder to the most that its update can be along any direction, in its units.

        Raises:
            EncryptionError: the parameters leave no room for inner products.
        """
        weights = self._scratch.array("<f8", gradient.size)
        nonzero = False
        for piece in pieces(gradient.size, gradient, self.left, weights):
            weights[piece] = gradient[piece] * (rate * self._parameters.step)
            nonzero = nonzero or bool(weights[piece].any())
            if self.left is not None:
                weights[piece] += self.left[piece]
        if not nonzero:
            return
        part, integers = self._part_for(weights, updates)
        levels = {holder: length / self._parameters.step for holder, length in longest.items()}
        errors = self._errors.weights(
            contrasts, unit=rate * self._parameters.step, longest=max(levels.values(), default=1.0)
        )
        own, *of_errors = [
            dict(zip(updates, samples, strict=True))
            for samples in dots_of_rows(list(updates.values()), [integers, *errors.rows])
        ]
        self._errors.add_round(errors, of_errors, longest=levels)
        for holder, sample in own.items():
            before = part.samples.get(holder)
            part.samples[holder] = add_samples([before, sample]) if before else sample
        if not any(CANARY in one.samples for one in self._parts):
            part.samples[CANARY] = canary_sample(list(updates.values()))
        self._weigh(updates, integers, part.factor)
        for piece in pieces(weights.size, weights, integers):
            weights[piece] -= integers[piece] / part.factor
        self.left = weights

    def _weigh(self, holders: Iterable[str], integers: npt.NDArray[np.int64], factor: float) -> None:
        """Note what the noise in updates weighs in contributions."""
        update, noise = integers[: integers.size - self._blind], integers[integers.size - self._blind :]
        for holder in holders:
            weight = self._weights.setdefault(holder, _Weight())
            weight.update += squared_norm(update) / factor**2
            weight.noise += squared_norm(noise) / factor**2

    def noise_error(self, holder: str, *, update_sd: float, noise_sd: float = 0.0) -> float:
        """Standard error of a holder's contribution by the privacy noise that it added, in units of the utility.

        Args:
            holder: One that took part in no round has an error of 0.
            update_sd: Deviation of the noise in a coordinate of its updates, in levels of the fixed point.
            noise_sd: The same of the coordinates that are noise for its contribution.

        Source: the deviation of a weighted sum of independent numbers; see :mod:`fedjoint.valuation.uncertainty`.
        """
        weight = self._weights.get(holder, _Weight())
        return math.sqrt(weight.update * update_sd**2 + weight.noise * noise_sd**2)

    def _part_for(
        self, weights: npt.NDArray[np.float64], updates: Mapping[str, Ciphertext]
    ) -> tuple[_Part, npt.NDArray[np.int64]]:
        """The part that these weights still fit into, or a new one; and the weights as integers of it."""
        if self._parts:
            part = self._parts[-1]
            integers = self._integers(weights, part.factor)
            if self._noise_fits(integers) and all(
                fits(part.samples.get(holder), integers, self._parameters) for holder in updates
            ):
                return part, integers
        headroom = _HEADROOM[min(len(self._parts), len(_HEADROOM) - 1)]
        norm = math.sqrt(product(weights, weights))
        if self._noise_weight is None:
            largest = largest_factor(norm, self._parameters)
        else:
            headroom = max(headroom, _NOISY_HEADROOM)
            largest = min(
                largest_factor(math.sqrt(2) * norm, self._parameters),  # the noise weighs as much as the update
                (self._noise_weight - math.sqrt(weights.size)) / norm,
            )
        self._parts.append(_Part(factor=largest / headroom))
        return self._parts[-1], self._integers(weights, self._parts[-1].factor)

    def _integers(self, weights: npt.NDArray[np.float64], factor: float) -> npt.NDArray[np.int64]:
        """Integer weights; where noise is for the contribution, their norm (rounded up) and one for its coordinates.

        Coordinates between an update and its noise, if any, are zeros that fill up the ciphertext.
        """
        size = max(weights.size + self._blind, self._parameters.num_parameters)
        integers = self._scratch.array("<i8", size)
        scaled = scale_weights(weights, factor, into=integers[: weights.size])
        if self._noise_weight is not None:
            start = size - self._blind
            integers[start : start + CONTRIBUTION_NOISES] = min(norm_above(scaled), 1 << 62), 1
        return integers

    def _noise_fits(self, integers: npt.NDArray[np.int64]) -> bool:
        """Whether the noise's own weight is small enough that no residue of it shows."""
        return self._noise_weight is None or int(integers[-self._blind]) <= self._noise_weight

    def masked(self, *, again: bool = False) -> tuple[MaskedContribution, ...]:
        """All parts under fresh masks, and then all numbers for errors, once.

        Args:
            again: Give the same under the same masks, if there are any: for the task that was sent before.

        Raises:
            ValuationError: they were masked before; a second mask on the same number would leave it as hidden, but
                opening twice is not agreed.
        """
        if self._masks and not again:
            raise ValuationError("the contributions were masked before", remedy="They are opened once in a run.")
        result = []
        for number, part in enumerate(self._parts):
            for holder, sample in sorted(part.samples.items()):
                if (holder, number) not in self._masks:
                    self._masks[holder, number] = self._random_below(self._parameters.plain_modulus)
                masked = mask_sample(sample, self._masks[holder, number])
                result.append(MaskedContribution(holder=holder, part=number, sample=masked))
        errors = [
            MaskedContribution(holder=holder, part=0, sample=sample, error=number)
            for holder, number, sample in self._errors.masked()
        ]
        return (*result, *errors)

    def saved(self) -> tuple[SavedContributions, tuple[bytes, ...]]:
        """What :meth:`restore` needs: facts, and the polynomials of each part's and then of each number's samples."""
        parts = [sorted(part.samples.items()) for part in self._parts]
        errors, of_errors = self._errors.saved()
        facts = SavedContributions(
            parts=tuple(
                SavedPart(
                    factor=part.factor,
                    samples={
                        holder: SavedSample(b=str(one.b), squared_norm=str(one.squared_norm), terms=one.terms)
                        for holder, one in samples
                    },
                )
                for part, samples in zip(self._parts, parts, strict=True)
            ),
            weights={holder: (weight.update, weight.noise) for holder, weight in self._weights.items()},
            masks=tuple(
                {holder: str(mask) for (holder, of), mask in self._masks.items() if of == number}
                for number in range(len(parts))
            )
            if self._masks
            else (),
            errors=errors,
        )
        return facts, (*(polynomials_of(part.samples) for part in self._parts), *of_errors)

    def restore(self, saved: SavedContributions, polynomials: Sequence[bytes]) -> None:
        """Go on from what :meth:`saved` gave.

        Raises:
            ValuationError: the polynomials are not those of the facts.
        """
        polynomials, of_errors = polynomials[: len(saved.parts)], polynomials[len(saved.parts) :]
        self._errors.restore(saved.errors, of_errors)
        if [len(data) for data in polynomials] != [8 * DEGREE * len(part.samples) for part in saved.parts]:
            raise ValuationError("the polynomials of contributions are not those that were kept with them")
        self._parts = []
        for part, data in zip(saved.parts, polynomials, strict=True):
            self._parts.append(_Part(factor=part.factor))
            for holder, one, row in with_polynomials(part.samples, data):
                self._parts[-1].samples[holder] = Sample(
                    parameters=self._parameters,
                    b=int(one.b),
                    a=row,
                    squared_norm=int(one.squared_norm),
                    terms=one.terms,
                )
        self._weights = {
            holder: _Weight(update=update, noise=noise) for holder, (update, noise) in saved.weights.items()
        }
        masks = enumerate(saved.masks)
        self._masks = {(holder, number): int(mask) for number, part in masks for holder, mask in part.items()}

    def opened(
        self, masked: Sequence[MaskedContribution], values: Sequence[int]
    ) -> tuple[tuple[OpenedContribution, ...], tuple[OpenedError, ...]]:
        """Put together what the holders returned for :meth:`masked`.

        Raises:
            ValuationError: another number of values, or a canary that is not the number of updates.
            EncryptionError: a value out of range.
        """
        if len(values) != len(masked):
            raise ValuationError(f"{len(values)} opened numbers", expected=f"{len(masked)}")
        found = list(zip(masked, values, strict=True))
        parts = tuple(self._opened_part(item, value) for item, value in found if not item.error)
        return parts, self._errors.opened([value for item, value in found if item.error])

    def _opened_part(self, item: MaskedContribution, value: int) -> OpenedContribution:
        part, mask = self._parts[item.part], self._masks[item.holder, item.part]
        sample = part.samples[item.holder]
        number = unmask(value, mask=mask, sample=sample)  # refuses what is out of range
        count = sample.squared_norm  # of a canary's updates, each of weight 1
        if item.holder == CANARY and number != count:
            raise ValuationError(
                "the contributions do not decrypt to those of these updates under this key",
                remedy="Nobody is paid on them: the holders that opened them have another key or another version.",
            )
        factor = float(count) if item.holder == CANARY else part.factor
        return OpenedContribution(holder=item.holder, part=item.part, opened=value, mask=mask, factor=factor)


def contribution_of(opened: Sequence[OpenedContribution], *, plain_modulus: int) -> float:
    """One holder's contribution from its opened parts, in units of the utility.

    The same function serves the coordinator and whoever verifies the record.

    Args:
        opened: All parts of one holder.
        plain_modulus: t of the run's encryption.

    Example:
        >>> part = OpenedContribution(holder="a", part=0, opened=10, mask=12, factor=4.0)
        >>> contribution_of([part], plain_modulus=16)
        -0.5
    """
    total = 0.0
    for part in opened:
        value = (part.opened - part.mask) % plain_modulus
        total += (value - plain_modulus if value >= plain_modulus // 2 else value) / part.factor
    return total
