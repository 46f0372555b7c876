"""What proves to holders that a sum is the sum it is said to be, although whoever added it has no key.

Each polynomial of an update begins with three words: the canary, 1, and two tags. For a holder at place i, whose
payload words in it are m_ij, a tag is F_i + sum_j r_j m_ij modulo a prime. The F_i and r_j, others for each prime, are
pseudo-random: the key (and so run and agreement), the round, the polynomial and (F_i only) the place determine them,
and who has no key cannot tell them from random numbers. Tags are linear, so they add up with the updates; the sum is
right if its tags are sum_i F_i + sum_j r_j M_j for its own payload words M_j and the holders said to be in it (a linear
homomorphic message authentication code: S. Agrawal and D. Boneh, "Homomorphic MACs", ACNS 2009).

Guarantees, against a coordinator without the key, whatever it computes from the ciphertexts it has seen: other
multiplicities (a copy, an omission), other holders, an update of another round, polynomials in another order, numbers
added to the sum or a false second polynomial pass with probability at most 2^-50 for each sum tried, or 2^-25 if they
leave each payload word right modulo one of the primes, which takes changes of at least 67,108,837 to a word.

What they do not do: stop two holders from being given two different true sums of a round (their difference tells what
one holder sent; holders sign for one of them first, :mod:`fedjoint.training.confirming`), or check masked samples
(``dot``), which carry no tags.
Holders share the key, so a holder that helps the coordinator can make any tag. Whether a made-up sum opens tells the
coordinator a little about the key: after ``keys.MAX_FALSE_SUMS`` of them a key opens nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.packing import Block, spread
from fedjoint.encryption.parameters import CHECK_WORDS, TAG_PRIMES
from fedjoint.encryption.streams import keystream
from fedjoint.encryption.words import Words
from fedjoint.errors import InvalidValue

__all__ = ["Contributors", "Tagger", "passes"]

#: Of r, and of half a payload word.
_FACTOR_BITS, _HALF_BITS = 26, 25
#: Polynomials worked on at a time: what is made of them stays in the cache.
_GROUP = 4
_PRIMES = np.array(TAG_PRIMES, dtype=np.uint64)


@dataclass(frozen=True, kw_only=True)
class Contributors:
    """Whose updates of which round are in a sum: what a holder is told, and what the tags prove.

    Args:
        round_number: 0 to 2^32 - 1.
        places: Where the holders stand in the agreement, from 0; each once, at least one.

    Raises:
        InvalidValue: a number out of range, or a place twice.
    """

    round_number: int
    places: tuple[int, ...]

    def __post_init__(self) -> None:
        single = 0 < len(self.places) == len(set(self.places))
        if not (0 <= self.round_number < 1 << 32 and single and min(self.places) >= 0):
            raise InvalidValue(
                f"contributors at places {list(self.places)[:8]} of round {self.round_number}",
                expected="different places from 0, at least one, and a round from 0 to 2^32 - 1",
            )


class Tagger:
    """Makes the words that check an update, or a sum, of one round.

    Args:
        key: The shared key.
        of: One holder, or those of a sum.
    """

    def __init__(self, key: SecretKey, of: Contributors) -> None:
        self._count = len(of.places)
        self._seed = key.derive(f"round/{of.round_number}")
        shape = key.parameters.num_polynomials, len(TAG_PRIMES)
        self._own = np.zeros(shape, dtype=np.uint64)
        for place in of.places:
            draw = keystream(self._seed, purpose=f"tag/{place}", block=0)
            self._own += draw(self._own.size).reshape(shape) % _PRIMES

    def words(self, payload: Words, block: Block) -> Words:
        """What the first words of each polynomial must be; for an update and for a sum alike.

        Args:
            payload: uint64[polynomials, payload words] of the block, zeros after the last; their sum, for a sum.
            block: The block.

        Returns:
            uint64[polynomials, 3]: the canary and the tags, each tag modulo its prime.
        """
        words = np.empty((block.num_polynomials, CHECK_WORDS), dtype=np.uint64)
        words[:, 0] = self._count
        words[:, 1:] = (self._own[block.polynomials] + self._products(payload, block)) % _PRIMES
        return words

    def _products(self, payload: Words, block: Block) -> Words:
        """Sum of r_j m_j for each polynomial modulo each prime, exactly: uint64[polynomials, 2]."""
        draw = keystream(self._seed, purpose="factors", block=block.number)
        drawn = spread(draw(block.num_payload)[None], block)[0].view(np.int64)
        values = payload.view(np.int64)
        products = np.empty((block.num_polynomials, len(TAG_PRIMES)), dtype=np.int64)
        for start in range(0, block.num_polynomials, _GROUP):
            group = slice(start, start + _GROUP)
            low, high = values[group] & ((1 << _HALF_BITS) - 1), values[group] >> _HALF_BITS
            for number, prime in enumerate(TAG_PRIMES):
                factors = (drawn[group] >> (_FACTOR_BITS * number)) & ((1 << _FACTOR_BITS) - 1)
                # 2^26 * 2^25 * 4093 < 2^63
                lower, upper = (np.einsum("pj,pj->p", half, factors) % prime for half in (low, high))
                products[group, number] = lower + (upper << _HALF_BITS)
        return products.view(np.uint64)


def passes(decrypted: Words, right: Words) -> bool:
    """Whether decrypted check words, uint64[polynomials, 3], are those of a :class:`Tagger`."""
    return bool((decrypted[:, 0] == right[:, 0]).all() and (decrypted[:, 1:] % _PRIMES == right[:, 1:]).all())
