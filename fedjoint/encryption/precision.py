"""How many values go into a word: as many as leave their rounding far below the noise, or the agreed bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fedjoint.encryption.parameters import Parameters
from fedjoint.errors import EncryptionError, InvalidValue
from fedjoint.strict import strict

__all__ = ["MOST_VALUES_PER_WORD", "ROUNDING_OF_NOISE", "Precision", "most_values_per_word"]

MOST_VALUES_PER_WORD = 5
#: Rounding may add this fraction to the variance of the privacy noise.
ROUNDING_OF_NOISE = 1e-3
_FEWEST_BITS, _MOST_BITS = 8, 24


@strict
@dataclass(frozen=True, kw_only=True)
class Precision:
    """How fine the fixed point of a run is.

    Args:
        values_per_word: k.
        bits: log2 of the levels of one value.
        step: Distance of two levels, in units of a weighted update.
        rounding_of_noise: Variance that rounding adds, over that of one holder's privacy noise; None without noise.
    """

    values_per_word: int
    bits: float
    step: float
    rounding_of_noise: float | None

    @classmethod
    def of(cls, parameters: Parameters, noise_deviation: float | None) -> Precision:
        """The precision of parameters.

        Args:
            parameters: Of a run.
            noise_deviation: Of the noise on one coordinate of a holder's weighted update; None without noise.

        Example:
            >>> agreed = Parameters(scheme="seal", num_parameters=24, max_holders=4, bound=1, value_bits=8, rounds=1)
            >>> Precision.of(agreed, 0.1).rounding_of_noise < 2e-3
            True

        Source: unbiased rounding to steps of s has variance s^2 / 6, averaged over where a value lies between steps.
        """
        return cls(
            values_per_word=parameters.values_per_word,
            bits=math.log2(parameters.levels),
            step=parameters.step,
            rounding_of_noise=(parameters.step / noise_deviation) ** 2 / 6 if noise_deviation else None,
        )


def most_values_per_word(parameters: Parameters, *, noise_deviation: float | None) -> Parameters:
    """The same parameters with the most values a word whose rounding does not matter.

    Args:
        parameters: With one value a word.
        noise_deviation: As in :meth:`Precision.of`. With noise, rounding may add ``ROUNDING_OF_NOISE`` to its variance,
            in whatever bits that takes; without, values keep ``parameters.value_bits``.

    Returns:
        Parameters with k from 1 to 5 and the whole bits that k leaves.

    Raises:
        EncryptionError: even one value a word is too coarse for the noise.
    """
    for k in range(MOST_VALUES_PER_WORD, 0, -1):
        packed = _packed(parameters, k)
        if packed is None:
            continue
        rounding = Precision.of(packed, noise_deviation).rounding_of_noise
        if rounding is None and packed.value_bits >= parameters.value_bits:
            return packed
        if rounding is not None and rounding <= ROUNDING_OF_NOISE:
            return packed
    raise EncryptionError(
        f"{parameters.value_bits} bits between -{parameters.bound:g} and {parameters.bound:g} are too coarse",
        expected=f"rounding of at most {ROUNDING_OF_NOISE:g} of the noise's variance",
        remedy="Raise encryption.value_bits or lower encryption.bound.",
    )


def _packed(parameters: Parameters, k: int) -> Parameters | None:
    """The parameters with k values a word of as many bits as fit; None where not even the fewest do."""
    if k == 1:
        return replace(parameters, values_per_word=1)
    try:
        packed = replace(parameters, values_per_word=k, value_bits=_FEWEST_BITS)
    except InvalidValue:
        return None
    return replace(packed, value_bits=min(_MOST_BITS, (packed.levels + 1).bit_length() - 1))
