"""What a holder opens with the key: sums of enough updates, and masked samples. Nothing else is ever opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.ciphertext import Ciphertext, second_polynomials
from fedjoint.encryption.coarse import leading_bits
from fedjoint.encryption.dot import MaskedSample
from fedjoint.encryption.fixed_point import dequantise_into
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.packing import Block, Progress, blocks, decode, unpack_block
from fedjoint.encryption.parameters import CHECK_WORDS, MODULUS
from fedjoint.encryption.tags import Contributors, Tagger, passes
from fedjoint.encryption.words import Words, add_into
from fedjoint.errors import EncryptionError

__all__ = ["decrypt_sum", "decrypt_words", "open_coarse", "open_sample"]


def decrypt_sum(
    key: SecretKey,
    ciphertext: Ciphertext,
    *,
    of: Contributors,
    minimum_holders: int,
    into: NDArray[Any] | None = None,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Decrypt the sum of a round, block by block, and check that it is that sum.

    Args:
        key: The shared key.
        ciphertext: The sum; its arrays may be mapped from a file.
        of: The round, and whose updates are said to be in it.
        minimum_holders: The agreement's; a sum of fewer is not opened.
        into: Where the result goes, [D], in memory or mapped from a file: uint64 for level sums, float32 or float64
            for the sum of the updates themselves. New level sums if None. It holds nothing to be used if this raises.
        progress: Called after each block.

    Returns:
        ``into``, or uint64[D], sums of ``ciphertext.count`` levels.

    Raises:
        EncryptionError: too few updates, room of another type or length, or too many false sums before; or, with one
            fixed message whatever the cause, a sum that is not of the updates it is said to be of
            (:mod:`fedjoint.encryption.tags`).
    """
    parameters = ciphertext.parameters
    if ciphertext.count < minimum_holders:
        raise EncryptionError(
            f"a sum of {ciphertext.count} updates is not opened", expected=f"at least {minimum_holders} as agreed"
        )
    sums = np.empty(parameters.num_parameters, dtype=np.uint64) if into is None else into
    if sums.shape != (parameters.num_parameters,) or sums.dtype not in (np.uint64, np.float32, np.float64):
        raise EncryptionError(
            f"room {sums.dtype}{list(sums.shape)} for a sum", expected=f"uint64 or float of {parameters.num_parameters}"
        )
    key.require_trust()
    tagger = Tagger(key, of)
    right = len(of.places) == ciphertext.count and max(of.places) < parameters.max_holders
    for block, plain in _decrypted(key, ciphertext, progress, sums):
        payload = _without_rest(plain[:, CHECK_WORDS:], block)
        right &= passes(plain[:, :CHECK_WORDS], tagger.words(payload, block))
        room, most = sums[block.values], ciphertext.count * (parameters.levels - 1)
        for where, values in unpack_block(payload, parameters, block):
            size = max(0, min(where.stop, room.size) - where.start)
            right &= int(values.max()) <= most and not values[size:].any()
            dequantise_into(room[where], values[:size], ciphertext.count, parameters)
        if not right:
            key.count_false_sum()
            raise EncryptionError(
                "the sum does not decrypt to one of these updates under this key",
                remedy="The round is not opened; the coordinator must send the sum again.",
            )
    return sums


def decrypt_words(key: SecretKey, ciphertext: Ciphertext) -> Words:
    """Decrypt to plaintext words, unchecked.

    Returns:
        uint64[num_words] below t.

    Raises:
        EncryptionError: the ciphertext was made with other parameters.
    """
    words = np.empty(ciphertext.parameters.num_words, dtype=np.uint64)
    for block, plain in _decrypted(key, ciphertext):
        words[block.words] = plain.reshape(-1)[: block.words.stop - block.words.start]
    return words


def _decrypted(
    key: SecretKey, ciphertext: Ciphertext, progress: Progress | None = None, room: NDArray[Any] | None = None
) -> Iterator[tuple[Block, Words]]:
    """Each block's plaintext words, uint64[polynomials, 4096]: c0 + c1 s modulo q, rounded to multiples of q / t.

    What follows the last used word is of no meaning.
    """
    if ciphertext.parameters != key.parameters:
        raise EncryptionError("a ciphertext made with other parameters", expected="those of the key")
    for block in blocks(key.parameters, arrays=[ciphertext.c0, ciphertext.c1, room], progress=progress):
        phase = key.multiply(second_polynomials(ciphertext, block), in_place=ciphertext.c1 is None)
        first = ciphertext.c0[block.words]
        add_into(phase.reshape(-1)[: first.size], first)
        yield block, decode(phase, key.parameters)


def _without_rest(payload: Words, block: Block) -> Words:
    """Contiguous payload words, uint64[polynomials, payload words], with zeros after the last one that is used."""
    whole = np.ascontiguousarray(payload)
    whole.reshape(-1)[block.num_payload :] = 0
    return whole


def open_sample(key: SecretKey, sample: MaskedSample) -> int:
    """Open a masked inner product for the coordinator.

    A sample carries no tags: a coordinator that follows no protocol can have any number of log2(t) bits opened, such as
    two coordinates of an update or 20 coefficients of the key. Open as few as were agreed, each once.

    Args:
        key: The shared key.
        sample: From :func:`fedjoint.encryption.dot.mask_sample`.

    Returns:
        An integer in [0, t), uniform to whoever does not know the mask.

    Raises:
        EncryptionError: the sample was made with other parameters.
    """
    t = key.parameters.plain_modulus
    return ((_phase(key, sample) * t + MODULUS // 2) // MODULUS) % t


def open_coarse(key: SecretKey, sample: MaskedSample, *, bits: int) -> int:
    """Open the leading bits of a masked inner product for the coordinator (:mod:`fedjoint.encryption.coarse`).

    As :func:`open_sample`, but that a coordinator that follows no protocol has ``bits`` bits opened.

    Args:
        key: The shared key.
        sample: From :func:`fedjoint.encryption.coarse.mask_coarse`.
        bits: How many, as agreed.

    Returns:
        An integer in [0, 2^bits), uniform to whoever does not know the mask.

    Raises:
        EncryptionError: the sample was made with other parameters.
    """
    return leading_bits(_phase(key, sample), bits)


def _phase(key: SecretKey, sample: MaskedSample) -> int:
    if sample.parameters != key.parameters:
        raise EncryptionError("a sample made with other parameters", expected="those of the key")
    return (sample.b + key.inner(sample.a)) % MODULUS
