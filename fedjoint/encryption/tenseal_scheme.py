"""The ``seal`` scheme: TenSEAL's SEAL makes keys and encrypts zero; and SEAL's decryptor, as an oracle for tests.

``tenseal.context`` cannot make parameters with one prime (it insists on relinearisation keys), ``tenseal.sealapi``
can. Its deserialisers crash on hostile bytes: here they read only what SEAL itself wrote in this process, or an
envelope made here around words that were checked to be below q. No byte of the network comes here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tenseal.sealapi as seal
import zstandard

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import Ciphertext, second_polynomials
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.packing import blocks
from fedjoint.encryption.parameters import DEGREE, MODULUS, Parameters
from fedjoint.encryption.words import Words
from fedjoint.errors import EncryptionError

__all__ = ["SealZeros", "create_key", "decrypt_words"]

#: SEAL's header: magic, header size, version 4.x, compression, reserved; then the length of it all.
_HEADER = b"\x5e\xa1\x10\x04\x03\x00\x00\x00"
_HEADER_BYTES = 16
_WORD_BYTES = 2 * DEGREE * 8
_MAX_BYTES = 1 << 20
_ZSTANDARD = 2


@functools.cache
def _context(plain_bits: int) -> Any:
    """SEAL's context; it refuses anything below 192-bit security."""
    chosen = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    chosen.set_poly_modulus_degree(DEGREE)
    chosen.set_coeff_modulus(seal.CoeffModulus.Create(DEGREE, [60]))
    chosen.set_plain_modulus(1 << plain_bits)
    context = seal.SEALContext(chosen, True, seal.SEC_LEVEL_TYPE.TC192)
    if not context.parameters_set() or chosen.coeff_modulus()[0].value() != MODULUS:
        raise EncryptionError("this SEAL makes other parameters", remedy="Install the TenSEAL of constraints.txt.")
    return context


@contextmanager
def _memory_file() -> Iterator[tuple[int, str]]:
    """A file that lives in memory only, since sealapi reads and writes nothing but named files."""
    if not hasattr(os, "memfd_create"):
        raise EncryptionError(
            "SEAL's keys need files in memory, which this system lacks",
            expected="Linux",
            remedy="Run the holder on Linux or in its container.",
        )
    handle = os.memfd_create("fedjoint", os.MFD_CLOEXEC)
    try:
        yield handle, f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _saved_body(handle: int) -> bytes:
    """What SEAL saved, without header and compression."""
    raw = os.pread(handle, _MAX_BYTES, 0)
    body = raw[_HEADER_BYTES : int.from_bytes(raw[8:16], "little")]
    if raw[5] != _ZSTANDARD:
        return body
    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


def _load_ciphertext(context: Any, prefix: bytes, words: Words) -> Any:
    """A SEAL ciphertext of our own words, uint64[2, 4096] in [0, q)."""
    body = prefix + words.astype("<u8").tobytes()
    ciphertext = seal.Ciphertext()
    with _memory_file() as (handle, path):
        os.pwrite(handle, _HEADER + (len(body) + _HEADER_BYTES).to_bytes(8, "little") + body, 0)
        ciphertext.load(context, path)
    return ciphertext


def _zero_body(encryptor: Any, ciphertext: Any, handle: int, path: str) -> bytes:
    encryptor.encrypt_zero_symmetric(ciphertext)
    ciphertext.save(path)
    body = _saved_body(handle)
    if len(body) <= _WORD_BYTES:
        raise EncryptionError("SEAL wrote a ciphertext of an unknown format", remedy="Install the TenSEAL tested.")
    return body


def _prefix(context: Any, secret: Any) -> bytes:
    """What stands before the words of a ciphertext of two polynomials."""
    with _memory_file() as (handle, path):
        return _zero_body(seal.Encryptor(context, secret), seal.Ciphertext(), handle, path)[:-_WORD_BYTES]


def create_key(parameters: Parameters, binding: Binding) -> SecretKey:
    """Make a key with SEAL's key generator.

    The ciphertext (0, 2^(60 - p)) has phase 2^(60 - p) s, so SEAL's decryptor gives the ternary polynomial s itself.

    Args:
        parameters: What the key is for.
        binding: The run it is for.

    Raises:
        EncryptionError: this SEAL is not the one known.
    """
    context = _context(parameters.plain_bits)
    secret = seal.KeyGenerator(context).secret_key()
    words = np.zeros((2, DEGREE), dtype=np.uint64)
    words[1, 0] = 1 << (60 - parameters.plain_bits)
    ciphertext = _load_ciphertext(context, _prefix(context, secret), words)
    plaintext = _decrypt(seal.Decryptor(context, secret), ciphertext).astype(np.int64)
    plaintext[plaintext > parameters.plain_modulus // 2] -= parameters.plain_modulus
    if np.abs(plaintext).max() > 1:
        raise EncryptionError("SEAL made a key that is not ternary", remedy="Install the TenSEAL of constraints.txt.")
    return SecretKey(plaintext.astype(np.int8), parameters, binding)


def _decrypt(decryptor: Any, ciphertext: Any) -> Words:
    """Coefficients of the plaintext, uint64[4096]; read one by one, so that they touch no file."""
    plaintext = seal.Plaintext()
    decryptor.decrypt(ciphertext, plaintext)
    words = np.zeros(DEGREE, dtype=np.uint64)
    words[: plaintext.coeff_count()] = [plaintext[i] for i in range(plaintext.coeff_count())]
    return words


def _seal_secret(key: SecretKey) -> Any:
    """The key as SEAL wants it: transformed by SEAL itself, and saved and loaded through memory."""
    context = _context(key.parameters.plain_bits)
    signs = {1: "1", -1: f"{key.parameters.plain_modulus - 1:x}"}
    terms = [f"{signs[sign]}x^{power}" for power, sign in enumerate(key.coefficients().tolist()) if sign]
    plaintext = seal.Plaintext(" + ".join(reversed(terms)))
    seal.Evaluator(context).transform_to_ntt_inplace(plaintext, context.first_parms_id())
    secret = seal.SecretKey()
    with _memory_file() as (_, path):
        plaintext.save(path)
        secret.load(context, path)
    return secret


class SealZeros:
    """SEAL's fresh encryptions of zero; both polynomials travel.

    Args:
        encryptor: SEAL's, holding the secret key.
    """

    seeds: tuple[bytes, ...] = ()

    def __init__(self, encryptor: Any) -> None:
        self._encryptor = encryptor

    @classmethod
    def source(cls, key: SecretKey) -> Callable[[], SealZeros]:
        """Make a source; SEAL draws its own randomness, so one object serves every update."""
        zeros = cls(seal.Encryptor(_context(key.parameters.plain_bits), _seal_secret(key)))
        return lambda: zeros

    def block(self, number: int, num_polynomials: int) -> tuple[Words, Words | None]:
        """First polynomials, uint64[polynomials * 4096], and second, uint64[polynomials, 4096], of a block."""
        words = np.empty((num_polynomials, 2, DEGREE), dtype=np.uint64)
        ciphertext = seal.Ciphertext()
        with _memory_file() as (handle, path):
            for polynomial in words:
                body = _zero_body(self._encryptor, ciphertext, handle, path)
                polynomial[:] = np.frombuffer(body, dtype="<u8", offset=len(body) - _WORD_BYTES).reshape(2, DEGREE)
        return words[:, 0].reshape(-1), words[:, 1]


def decrypt_words(key: SecretKey, ciphertext: Ciphertext) -> Words:
    """Decrypt with SEAL: the oracle that our own decryption is tested against.

    Returns:
        uint64[num_words], the plaintext words below t.
    """
    context, secret = _context(key.parameters.plain_bits), _seal_secret(key)
    prefix, decryptor = _prefix(context, secret), seal.Decryptor(context, secret)
    first = np.zeros(key.parameters.num_polynomials * DEGREE, dtype=np.uint64)
    first[: ciphertext.c0.size] = ciphertext.c0
    plain = []
    for block in blocks(key.parameters):
        second = second_polynomials(ciphertext, block)
        for c0, c1 in zip(first.reshape(-1, DEGREE)[block.polynomials], second, strict=True):
            plain.append(_decrypt(decryptor, _load_ciphertext(context, prefix, np.stack([c0, c1]))))
    return np.concatenate(plain)[: ciphertext.c0.size]
