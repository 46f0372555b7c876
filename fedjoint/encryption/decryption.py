"""What a holder opens with the key: sums of enough updates, and masked samples. Nothing else is ever opened."""

from __future__ import annotations

import numpy as np

from fedjoint.encryption.ciphertext import Ciphertext, second_polynomials
from fedjoint.encryption.dot import MaskedSample
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.packing import blocks, decode, unpack_block
from fedjoint.encryption.parameters import MODULUS
from fedjoint.encryption.words import Words, add_into
from fedjoint.errors import EncryptionError

__all__ = ["decrypt_sum", "decrypt_words", "open_sample"]


def decrypt_sum(key: SecretKey, ciphertext: Ciphertext, *, minimum_holders: int) -> Words:
    """Decrypt the sum of a round.

    Args:
        key: The shared key.
        ciphertext: The sum.
        minimum_holders: The agreement's; a sum of fewer is not opened.

    Returns:
        uint64[D], sums of ``ciphertext.count`` levels.

    Raises:
        EncryptionError: too few updates; or, with one fixed message whatever the cause, a sum whose canary is not the
            number of updates, or that no such number of updates has.
    """
    if ciphertext.count < minimum_holders:
        raise EncryptionError(
            f"a sum of {ciphertext.count} updates is not opened", expected=f"at least {minimum_holders} as agreed"
        )
    parameters = ciphertext.parameters
    k, size = parameters.values_per_word, parameters.num_parameters
    packed = decrypt_words(key, ciphertext)
    sums = np.empty(k * parameters.num_words, dtype=np.uint64)
    for _, words, _ in blocks(parameters):
        sums[k * words.start : k * words.stop] = unpack_block(packed[words], parameters)
    whole = int(sums[size]) == ciphertext.count and not sums[size + 1 :].any()
    if not (whole and int(sums[:size].max()) <= ciphertext.count * (parameters.levels - 1)):
        raise EncryptionError(
            "the sum does not decrypt to one of this many updates under this key",
            remedy="The round is not opened; the coordinator must send the sum again.",
        )
    return sums[:size]


def decrypt_words(key: SecretKey, ciphertext: Ciphertext) -> Words:
    """Decrypt to plaintext words, unchecked: c0 + c1 s modulo q, rounded to multiples of q / t.

    Returns:
        uint64[num_words] below t.

    Raises:
        EncryptionError: the ciphertext was made with other parameters.
    """
    if ciphertext.parameters != key.parameters:
        raise EncryptionError("a ciphertext made with other parameters", expected="those of the key")
    plain = np.empty(ciphertext.parameters.num_words, dtype=np.uint64)
    for number, words, polynomials in blocks(ciphertext.parameters):
        phase = key.multiply(second_polynomials(ciphertext, block=number, polynomials=polynomials)).reshape(-1)
        phase = phase[: words.stop - words.start]
        add_into(phase, ciphertext.c0[words])
        plain[words] = decode(phase, ciphertext.parameters)
    return plain


def open_sample(key: SecretKey, sample: MaskedSample) -> int:
    """Open a masked inner product for the coordinator.

    Args:
        key: The shared key.
        sample: From :func:`fedjoint.encryption.dot.mask_sample`.

    Returns:
        An integer in [0, t), uniform to whoever does not know the mask.

    Raises:
        EncryptionError: the sample was made with other parameters.
    """
    if sample.parameters != key.parameters:
        raise EncryptionError("a sample made with other parameters", expected="those of the key")
    t = key.parameters.plain_modulus
    phase = (sample.b + key.inner(sample.a)) % MODULUS
    return ((phase * t + MODULUS // 2) // MODULUS) % t
