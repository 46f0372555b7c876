"""The public parameters of one key, and every quantity that follows from them.

BFV over Z_q[x]/(x^4096 + 1) with one 60-bit prime, plaintext modulus t = 2^plain_bits, uniform ternary secret and
centred binomial error of 42 bits (SEAL's own). Only additions and one plaintext inner product are needed, so there is
no multiplicative level, no relinearisation key and no slot.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import rfc8785

from fedjoint.agreement.slots import last_slot
from fedjoint.agreement.terms import MAX_HOLDERS, Terms
from fedjoint.errors import EncryptionError, InvalidValue
from fedjoint.strict import plain, strict

__all__ = [
    "CHECK_WORDS",
    "DEGREE",
    "ERROR_BOUND",
    "ERROR_VARIANCE",
    "MAX_PARAMETERS",
    "MAX_WEIGHT_NORM",
    "MODULUS",
    "NOISE_DEVIATIONS",
    "PAYLOAD_WORDS",
    "SECURITY",
    "SHORTFALL",
    "TAG_PRIMES",
    "Parameters",
    "agreed_parameters",
]

#: Coefficients of a polynomial.
DEGREE = 4096
#: q is this much below 2^60, so that 2^60 = SHORTFALL modulo q; the largest prime below 2^60 with q = 1 mod 2 * DEGREE.
SHORTFALL = 16383
MODULUS = (1 << 60) - SHORTFALL
#: Tags of a polynomial are kept modulo these, so that a sum of 200 has room in every plaintext modulus there is.
TAG_PRIMES = ((1 << 26) - 5, (1 << 26) - 27)
#: Each polynomial begins with the canary and its two tags; packed values fill the rest.
CHECK_WORDS = 1 + len(TAG_PRIMES)
PAYLOAD_WORDS = DEGREE - CHECK_WORDS
#: An error is the difference of two sums of 21 fair bits: at most 21, variance 21/2, sub-Gaussian with that variance.
ERROR_BOUND = 21
ERROR_VARIANCE = ERROR_BOUND / 2
#: Largest model: bounds every length that is computed from parameters of a stranger.
MAX_PARAMETERS = 1 << 28
#: Largest norm of integer weights for which the floating-point correlation is proven exact (``words.correlate``).
MAX_WEIGHT_NORM = 1 << 17
#: Noise of an inner product stays within this many standard deviations: it fails with probability < 2 exp(-32).
NOISE_DEVIATIONS = 8
#: SHORTFALL * m < 2^64 for every plaintext m.
_MAX_PLAIN_BITS = 50
SECURITY = (
    "log2 q = 60 at N = 4096 with a uniform ternary secret: the HomomorphicEncryption.org table (2018) allows "
    "log2 q <= 75 for 192-bit classical security (<= 109 for 128-bit)"
)


@strict
@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a key is made for; known to everybody.

    Args:
        scheme: ``seal`` (both polynomials travel) or ``seeded`` (the second travels as its 32-byte seed).
        num_parameters: D, coordinates of an update: 1 to 2^28.
        max_holders: n, the most updates that one sum may have: 2 to 200.
        bound: B, largest absolute value of a coordinate; positive.
        value_bits: Bits of one value: 8 to 24.
        rounds: The most rounds that are encrypted under the key: 1 to 10,000.
        values_per_word: k, values packed to one 64-bit word: 1 (allows inner products) to 5 (sums only).

    Raises:
        InvalidValue: a value outside its range, or fields too narrow for ``value_bits``.

    Guarantees:
        A sum of ``max_holders`` updates never carries into its neighbour and always decrypts: in the worst case, not
        with high probability. An inner product within ``weight_norm_budget`` never wraps, and its noise exceeds what
        decryption tolerates with probability below 2 exp(-32) = 2.6e-14.

    Example:
        >>> agreed = Parameters(scheme="seal", num_parameters=24, max_holders=4, bound=1.0, value_bits=16, rounds=20)
        >>> agreed.levels, agreed.num_words, agreed.plain_bits, agreed.weight_norm_budget
        (65535, 27, 37, 95724)
    """

    scheme: Literal["seal", "seeded"]
    num_parameters: int
    max_holders: int
    bound: float
    value_bits: int
    rounds: int
    values_per_word: int = 1

    def __post_init__(self) -> None:
        if self.scheme not in ("seal", "seeded"):
            raise InvalidValue(f"encryption scheme '{self.scheme}'", expected="seal or seeded")
        if not (math.isfinite(self.bound) and 1e-9 <= self.bound <= 1e6):
            raise InvalidValue(f"bound = {self.bound}", expected="a number from 1e-9 to 1e6")
        for name, value, low, high in (
            ("num_parameters", self.num_parameters, 1, MAX_PARAMETERS),
            ("max_holders", self.max_holders, 2, MAX_HOLDERS),
            ("value_bits", self.value_bits, 8, 24),
            ("rounds", self.rounds, 1, 10_000),
            ("values_per_word", self.values_per_word, 1, 5),
        ):
            if not (isinstance(value, int) and low <= value <= high):
                raise InvalidValue(f"{name} = {value}", expected=f"a whole number from {low} to {high}")
        if self.levels < (1 << self.value_bits) - 1:
            raise InvalidValue(
                f"value_bits = {self.value_bits} with {self.values_per_word} values a word, {self.max_holders} holders",
                expected=f"at most {(self.levels + 1).bit_length() - 1} bits",
                remedy="Lower value_bits or values_per_word.",
            )

    @cached_property
    def plain_bits(self) -> int:
        """log2 of the plaintext modulus t.

        With k > 1 as many bits as the worst-case noise of a sum leaves: each update adds at most 21 (error) + 1/2
        (rounding of q m / t), and decoding itself at most 1, so 43 n + 2 <= q / t.

        With k = 1 more bits of t let an inner product be larger and less noise be tolerated: the balance that allows
        the largest ``weight_norm_budget`` is taken. Either way a sum of tags fits, 2^26 each.
        """
        if self.values_per_word > 1:
            return self._most_plain_bits
        largest = self.max_holders * (self.levels - 1), 2 * SHORTFALL * (self.levels - 1), self.max_holders << 26
        least = max(largest).bit_length()
        return max(range(least, self._most_plain_bits + 1), key=self._weight_norm)

    @property
    def _most_plain_bits(self) -> int:
        return min(_MAX_PLAIN_BITS, 60 - ((2 * ERROR_BOUND + 1) * self.max_holders + 1).bit_length())

    def _weight_norm(self, plain_bits: int) -> int:
        """Largest norm of integer weights, summed in squares over all rounds, that t = 2^plain_bits carries.

        Noise: sum_j g_j e_j is sub-Gaussian with deviation sqrt(10.5) |g|. As t does not divide q, a plaintext M
        off by SHORTFALL * M / t <= SHORTFALL / 2, the mask by 1/2. All of it must stay below q / (2 t).
        Plaintext: |M| <= |m| |g| (Cauchy-Schwarz) with |m_j| <= offset; it must stay below t / 2.
        """
        room = (MODULUS >> (plain_bits + 1)) - SHORTFALL // 2 - 2
        by_noise = math.floor(max(room, 0) / (NOISE_DEVIATIONS * math.sqrt(ERROR_VARIANCE)))
        largest = (1 << (plain_bits - 1)) - 1
        by_size = math.isqrt(largest**2 // (self.offset**2 * self.num_parameters * self.rounds))
        return min(by_noise, by_size)

    @property
    def field_bits(self) -> int:
        """Bits of one packed field, the sum included."""
        return (self._most_plain_bits if self.values_per_word > 1 else self.plain_bits) // self.values_per_word

    @property
    def levels(self) -> int:
        """L, odd, so that level (L - 1) / 2 is exactly zero; a value is an integer in [0, L - 1].

        With k = 1 it is 2^value_bits - 1; with k > 1 whatever room the field has beyond that is used.
        """
        if self.values_per_word == 1:
            return (1 << self.value_bits) - 1
        largest = ((1 << self.field_bits) - 1) // self.max_holders
        return largest + 1 - largest % 2

    @property
    def offset(self) -> int:
        """The level that means zero."""
        return (self.levels - 1) // 2

    @property
    def step(self) -> float:
        """Distance of two levels, in units of the update."""
        return 2 * self.bound / (self.levels - 1)

    @property
    def plain_modulus(self) -> int:
        """The plaintext modulus t = 2^plain_bits."""
        return 1 << self.plain_bits

    @property
    def num_payload_words(self) -> int:
        """Words that hold values."""
        return -(-self.num_parameters // self.values_per_word)

    @property
    def num_polynomials(self) -> int:
        """Polynomials of an update."""
        return -(-self.num_payload_words // PAYLOAD_WORDS)

    @property
    def num_words(self) -> int:
        """Words of an update, those that check it included."""
        return self.num_payload_words + CHECK_WORDS * self.num_polynomials

    @property
    def weight_norm_budget(self) -> int:
        """Largest allowed sqrt of the sum over rounds of the squared norms of integer weights (k = 1 only).

        Zero means that no inner product can be opened under these parameters.

        Raises:
            EncryptionError: several values share a word.
        """
        if self.values_per_word != 1:
            raise EncryptionError(
                f"no inner products with {self.values_per_word} values a word", remedy="Set values_per_word to 1."
            )
        return min(self._weight_norm(self.plain_bits), MAX_WEIGHT_NORM)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON of these parameters and of what is fixed in code, as hex."""
        fixed = {"degree": DEGREE, "modulus": str(MODULUS), "error_bound": ERROR_BOUND, "plain_bits": self.plain_bits}
        public = {"format": "fedjoint-encryption-2", "levels": self.levels, **fixed, **plain(self)}
        return hashlib.sha256(rfc8785.dumps(public)).hexdigest()


def agreed_parameters(terms: Terms) -> Parameters:
    """The parameters of a run, derived from its agreement alone.

    Raises:
        InvalidValue: the agreement's values do not go together.
    """
    return Parameters(
        scheme=terms.encryption.scheme,
        num_parameters=terms.num_coordinates,
        max_holders=len(terms.holders),
        bound=terms.encryption.bound,
        value_bits=terms.encryption.value_bits,
        values_per_word=terms.encryption.values_per_word,
        rounds=last_slot(terms),
    )
