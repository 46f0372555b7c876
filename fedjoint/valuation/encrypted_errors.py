"""Numbers beside each holder's contribution that tell how far it is off by the choice of reference records, encrypted.

A contribution is ``sum_t <a_t, d_it>``, with the path gradients of all reference records. Take instead of those
gradients a contrast between groups of the records (:mod:`fedjoint.valuation.record_groups`): what the same updates come
to along it has mean 0 and, over the choice of the groups, the variance that the choice of the records gives the
contribution; and two holders' numbers have the covariance of their contributions. So a few such numbers of each holder,
folded into the same ciphertexts, estimate errors and covariances as a bootstrap would that saw every update.

**Size.** A rough value is enough, so that only leading bits are opened (:mod:`fedjoint.encryption.coarse`). For these
to be worth something the coordinator must know beforehand how large a number can be: ``reach``, the sum over rounds of
the length of the weights times what an update can be along any direction, a public constant. Weights are scaled so that
gradients may grow four times in all rounds. Beyond that a number could wrap: none is opened, and the error is not
stated.

**Precision.** Weights are rounded to integers of a norm of at most 2^9 for each root of 65,000 parameters, at random
and without bias, so that contrasts which shrink do not vanish: rounding adds to an error and never takes from it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import CONTRIBUTION_NOISES, Terms
from fedjoint.encryption.coarse import CoarseSample, add_doubled, mask_coarse, unmask_coarse
from fedjoint.encryption.dot import MaskedSample, Sample, norm_above, scale_weights, squared_norm
from fedjoint.encryption.packing import blocks
from fedjoint.encryption.parameters import DEGREE, MAX_WEIGHT_NORM, MODULUS, Parameters
from fedjoint.encryption.scratch import IN_MEMORY, Scratch, pieces, product
from fedjoint.encryption.words import BLOCK_POLYNOMIALS
from fedjoint.errors import ValuationError
from fedjoint.strict import strict
from fedjoint.valuation.saved import SavedErrors, SavedSample, polynomials_of, with_polynomials
from fedjoint.valuation.uncertainty import covariance_of_contrasts

__all__ = ["EncryptedErrors", "ErrorNoise", "ErrorWeights", "OpenedError", "error_numbers_of", "sampling_of"]

Vector = npt.NDArray[np.floating]
Integers = npt.NDArray[np.int64]

#: Norm of the first round's integer weights, for each root of a block of parameters.
_NORM = 1 << 9
#: Weights of a smaller norm would be rounding alone: rather none are opened.
_LEAST_NORM = 1 << 4
#: Gradients may grow so many times in all rounds before a number could wrap.
_HEADROOM = 4.0
#: Where noise weighs in a number, gradients may grow so many times before weights are halved.
_NOISY_HEADROOM = 4.0
#: Noise is not further out than so many standard deviations.
_DEVIATIONS = 8.0


@dataclass(frozen=True, kw_only=True)
class ErrorNoise:
    """Coordinates of an update that are noise for one number each (:mod:`fedjoint.privacy.joint_plan`).

    Args:
        largest_norm: Of integer weights.
        weigh: A norm of weights to the weight of the noise.
        sd: Deviation of the noise in a coordinate, in levels.
    """

    largest_norm: int
    weigh: Callable[[int], int]
    sd: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorWeights:
    """A round's contrasts as integers.

    Args:
        rows: For each number int64[D], what is multiplied with updates.
        norms: For each number the norm of the contrast, in units of the utility for one level.
        doublings: How often inner products with the rows are doubled before they are added to those of other rounds.
    """

    rows: list[Integers]
    norms: list[float]
    doublings: int


@strict
@dataclass(frozen=True, kw_only=True)
class OpenedError:
    """One number as holders opened it, with all that is needed to compute it again.

    Args:
        holder: Whose it is.
        number: From 1.
        opened: What the holders returned.
        mask: What the coordinator had added, in [0, q), a decimal string.
        span: What once around the circle stands for, in units of the utility.
    """

    holder: str
    number: int
    opened: int
    mask: str
    span: float

    def value(self, bits: int) -> float:
        """The number, in units of the utility.

        Raises:
            EncryptionError: it is out of range.
        """
        mask = int(self.mask) if self.mask.isdecimal() and len(self.mask) <= len(str(MODULUS)) else MODULUS
        return unmask_coarse(self.opened, mask=mask, bits=bits) * self.span


def error_numbers_of(
    opened: Sequence[OpenedError], holders: Sequence[str], *, took_part: Collection[str], numbers: int, bits: int
) -> dict[str, tuple[float, ...]] | None:
    """Each holder's numbers; the same function serves the coordinator and whoever verifies the record.

    Args:
        opened: All of a run.
        holders: Of the agreement, in order.
        took_part: Those whose updates were valued; the numbers of all others are 0.
        numbers: How many were agreed.
        bits: To how many bits each was opened.

    Returns:
        None if none were opened.

    Raises:
        ValuationError: a number is of nobody, twice there, or missing beside another of its holder.
        EncryptionError: one is out of range.
    """
    if not opened:
        return None
    found: dict[str, dict[int, float]] = {holder: {} for holder in holders}
    for one in opened:
        if one.holder not in found or not 1 <= one.number <= numbers or one.number in found[one.holder]:
            raise ValuationError(f"number {one.number} of '{one.holder}' for the error of contributions")
        found[one.holder][one.number] = one.value(bits)
    if any(len(values) != (numbers if holder in took_part else 0) for holder, values in found.items()):
        raise ValuationError("numbers for the error of contributions are missing", expected=f"{numbers} of a holder")
    return {
        holder: tuple(values.get(number, 0.0) for number in range(1, numbers + 1)) for holder, values in found.items()
    }


def sampling_of(
    terms: Terms, errors: Sequence[OpenedError], *, took_part: Collection[str]
) -> tuple[tuple[float, ...], ...] | None:
    """Covariances of contributions by the choice of reference records, from numbers that holders opened.

    The same function serves the coordinator and whoever verifies the record.

    Args:
        terms: The agreement.
        errors: All that were opened; without any nothing is known.
        took_part: The holders whose contributions were opened.

    Raises:
        ValuationError: some are missing or there twice, or are on scales that no run has.
        EncryptionError: one is out of range.
    """
    if any(not 0 < one.span < math.inf for one in errors) or len({math.frexp(one.span)[0] for one in errors}) > 1:
        raise ValuationError(
            "numbers for the error of contributions on different scales", expected="scales a power of two apart"
        )
    numbers = error_numbers_of(
        errors,
        terms.holder_ids,
        took_part=took_part,
        numbers=terms.valuation.error_numbers,
        bits=terms.error_bits,
    )
    return None if numbers is None else covariance_of_contrasts(numbers)


class EncryptedErrors:
    """The numbers of a run, encrypted; held by the coordinator, who has no key.

    Args:
        parameters: Of the run's encryption.
        numbers: How many of each holder.
        bits: To how many each will be opened.
        noise: Of the coordinates that blur them; None where there are none.
        random_below: Gives a uniform integer below its argument; must be unpredictable.
        rounding: Seed of the random rounding of weights.
        scratch: Where vectors as long as the model are kept.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        numbers: int,
        bits: int,
        noise: ErrorNoise | None = None,
        random_below: Callable[[int], int] = secrets.randbelow,
        rounding: Sequence[int] = (0,),
        scratch: Scratch = IN_MEMORY,
    ) -> None:
        self._parameters, self.numbers, self._bits, self._noise = parameters, numbers, bits, noise
        self._random_below, self._scratch = random_below, scratch
        self._rounding = np.random.default_rng(rounding)
        self._factor: float | None = None
        self._samples: list[dict[str, CoarseSample]] = [{} for _ in range(numbers)]
        self._reach: list[dict[str, float]] = [{} for _ in range(numbers)]
        self._masks: list[dict[str, int]] = [{} for _ in range(numbers)]

    def weights(self, contrasts: Sequence[Vector], *, unit: float, longest: float = 1.0) -> ErrorWeights:
        """A round's contrasts as integers.

        Args:
            contrasts: For each number the gradient along its contrast, [D].
            unit: What a level of an update moves the model by.
            longest: The most that any update can be along any direction, in levels.
        """
        norms = [unit * math.sqrt(product(one, one)) for one in contrasts]
        if self._factor is None and any(norms):
            self._factor = self._first_norm(longest) / max(norms)
        factor, doublings = unit * (self._factor or 1.0), 0
        while True:
            rows = [self._row(one, factor / 2**doublings, number) for number, one in enumerate(contrasts)]
            if all(self._is_small(row, number) for number, row in enumerate(rows)):
                return ErrorWeights(rows=rows, norms=norms, doublings=doublings)
            doublings += 1

    def _first_norm(self, longest: float) -> float:
        room = self._parameters.plain_modulus / 4 / (_HEADROOM * self._parameters.rounds * max(longest, 1.0))
        norm = min(
            max(room, _LEAST_NORM), _NORM * math.sqrt(max(1.0, self._parameters.num_polynomials / BLOCK_POLYNOMIALS))
        )
        return norm if self._noise is None else min(norm, self._noise.largest_norm / _NOISY_HEADROOM)

    def _place(self, number: int) -> int:
        """Where a number's two coordinates of noise begin; the contribution's come before those of all numbers."""
        return self._parameters.num_parameters - CONTRIBUTION_NOISES * (self.numbers - number)

    def _row(self, weights: Vector, factor: float, number: int) -> Integers:
        integers = self._scratch.array("<i8", self._parameters.num_parameters)
        scaled = integers[: weights.size]
        for piece in pieces(weights.size, weights, integers):
            exact = weights[piece].astype(np.float64) * factor
            scale_weights(np.floor(exact + self._rounding.random(exact.size)), 1.0, into=scaled[piece])
        if self._noise is not None:
            place, weight = self._place(number), self._noise.weigh(norm_above(scaled))
            integers[place : place + CONTRIBUTION_NOISES] = min(weight, 1 << 62), 1
        return integers

    def _is_small(self, row: Integers, number: int) -> bool:
        """Whether inner products with these weights are exact, and the noise's own weight shows no residue of it."""
        if self._noise is not None:
            place = self._place(number)
            if int(row[place]) > self._noise.weigh(self._noise.largest_norm):
                return False
        squares = max(squared_norm(row[block.values]) for block in blocks(self._parameters, arrays=[row]))
        return squares <= MAX_WEIGHT_NORM**2

    def add_round(
        self, weights: ErrorWeights, samples: Sequence[Mapping[str, Sample]], *, longest: Mapping[str, float]
    ) -> None:
        """Add a round's inner products.

        Args:
            weights: Of the round.
            samples: For each number, holder to its inner product.
            longest: Holder to the most that its update can be along any direction, in levels.
        """
        for number, found in enumerate(samples):
            own = self._own_noise(weights.rows[number], number) * 2**weights.doublings / (self._factor or 1.0)
            for holder, sample in found.items():
                before = self._samples[number].get(holder)
                terms: list[CoarseSample | Sample] = [before, sample] if before else [sample]
                self._samples[number][holder] = add_doubled(terms, doublings=weights.doublings)
                reach = weights.norms[number] * longest[holder] + own
                self._reach[number][holder] = self._reach[number].get(holder, 0.0) + reach

    def _own_noise(self, row: Integers, number: int) -> float:
        """The most that a number's own noise may be."""
        if self._noise is None:
            return 0.0
        return _DEVIATIONS * self._noise.sd * (int(row[self._place(number)]) + 1)

    def masked(self) -> tuple[tuple[str, int, MaskedSample], ...]:
        """Holder, number (from 1) and what is given to holders to open; the same again if it is asked for again.

        Nothing where a number could have wrapped.
        """
        result = []
        for holder, number, doublings in self._to_open():
            masks = self._masks[number - 1]
            if holder not in masks:
                masks[holder] = self._random_below(MODULUS)
            sample = mask_coarse(self._samples[number - 1][holder], masks[holder], doublings=doublings)
            result.append((holder, number, sample))
        return tuple(result)

    def _to_open(self) -> list[tuple[str, int, int]]:
        """Holder, number and how often that is doubled before it is opened; none where one could have wrapped."""
        result = []
        for number, (samples, reach) in enumerate(zip(self._samples, self._reach, strict=True), start=1):
            for holder, sample in sorted(samples.items()):
                doublings = sample.doublings(reach[holder] * (self._factor or 1.0), bits=self._bits)
                if doublings is None:
                    return []
                result.append((holder, number, doublings))
        return result

    def opened(self, values: Sequence[int]) -> tuple[OpenedError, ...]:
        """What holders returned for :meth:`masked`.

        Args:
            values: One for each number, in its order.

        Raises:
            EncryptionError: one is out of range.
        """
        result = []
        for (holder, number, doublings), value in zip(self._to_open(), values, strict=True):
            span = self._parameters.plain_modulus / (self._factor or 1.0) / 2**doublings
            mask = str(self._masks[number - 1][holder])
            result.append(OpenedError(holder=holder, number=number, opened=value, mask=mask, span=span))
            result[-1].value(self._bits)  # refuses what is out of range
        return tuple(result)

    def saved(self) -> tuple[SavedErrors, tuple[bytes, ...]]:
        """What :meth:`restore` needs: facts, and for each number the polynomials of its samples, sorted by holder."""
        facts = SavedErrors(
            factor=self._factor,
            samples=tuple(
                {
                    holder: SavedSample(b=str(one.b), squared_norm=str(one.squared_norm), terms=1)
                    for holder, one in samples.items()
                }
                for samples in self._samples
            ),
            reach=tuple(dict(reach) for reach in self._reach),
            masks=tuple({holder: str(mask) for holder, mask in masks.items()} for masks in self._masks),
        )
        return facts, tuple(polynomials_of(samples) for samples in self._samples)

    def restore(self, saved: SavedErrors, polynomials: Sequence[bytes]) -> None:
        """Go on from what :meth:`saved` gave.

        Raises:
            ValuationError: the polynomials are not those of the facts.
        """
        if [len(data) for data in polynomials] != [8 * DEGREE * len(samples) for samples in saved.samples]:
            raise ValuationError("the polynomials of contributions' errors are not those that were kept with them")
        self._factor, self._reach = saved.factor, [dict(reach) for reach in saved.reach]
        self._masks = [{holder: int(mask) for holder, mask in masks.items()} for masks in saved.masks]
        self._samples = [
            {
                holder: CoarseSample(
                    parameters=self._parameters, b=int(one.b), a=row, squared_norm=int(one.squared_norm)
                )
                for holder, one, row in with_polynomials(samples, data)
            }
            for samples, data in zip(saved.samples, polynomials, strict=True)
        ]
