"""The secret key that all holders share, and that the coordinator never has.

It is a type of its own: what must not see a key is written against :class:`~fedjoint.encryption.ciphertext.Ciphertext`
and cannot be handed one by mistake. Its public side is its id only, as encryption here is symmetric.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.words import Words, inner, multiply_small, small_spectrum
from fedjoint.errors import EncryptionError

__all__ = ["MAX_FALSE_SUMS", "PACKED_KEY_BYTES", "RoundJournal", "SecretKey"]

#: Whether a made-up sum opens tells something of the key, a bit or so each time: no honest run meets even one.
MAX_FALSE_SUMS = 8
#: Two bits a coefficient.
PACKED_KEY_BYTES = DEGREE // 4


class RoundJournal(Protocol):
    """Where a key writes down, before each encryption, the round it is for."""

    def write(self, round_number: int) -> None:
        """Keep a round's number so that it survives whatever comes next."""
        ...

    def close(self) -> None:
        """Let go of whatever keeps it."""
        ...


class SecretKey:
    """A uniform ternary polynomial; it never prints, pickles, copies or compares itself.

    It is of one run under one agreement: another run, or other members, need another key.

    Args:
        coefficients: int8[4096] in {-1, 0, 1}; the key takes a copy.
        parameters: What it is for.
        binding: The run it is for.

    Raises:
        EncryptionError: the coefficients are not those of a key.

    Guarantees:
        ``key_id`` is SHA-256 of the parameters' fingerprint, the binding and the check value: equal if and only if all
        three are.
    """

    def __init__(self, coefficients: NDArray[np.int8], parameters: Parameters, binding: Binding) -> None:
        whole = coefficients.dtype == np.int8 and coefficients.shape == (DEGREE,)
        if not (whole and coefficients.min() >= -1 and coefficients.max() <= 1):
            raise EncryptionError("these coefficients are no secret key", expected=f"{DEGREE} of -1, 0 and 1")
        self.parameters, self.binding = parameters, binding
        self._coefficients = coefficients.copy()
        self._spectrum = small_spectrum(self._coefficients)
        self._last_round = -1
        self._false_sums = 0
        self._journal: RoundJournal | None = None
        self._closed = False
        public = bytes.fromhex(parameters.fingerprint + binding.agreement_sha256 + binding.run_id)
        self.key_id = hashlib.sha256(b"fedjoint/2/key\x00" + public + self.tag(b"check")).hexdigest()

    @classmethod
    def unpack(cls, packed: bytes, parameters: Parameters, binding: Binding) -> SecretKey:
        """Read what :meth:`pack` wrote.

        Raises:
            EncryptionError: a wrong length or a coefficient that no key has.
        """
        if len(packed) != PACKED_KEY_BYTES:
            raise EncryptionError(f"a secret key of {len(packed)} bytes", expected=f"{PACKED_KEY_BYTES} bytes")
        codes = np.frombuffer(packed, dtype=np.uint8)[:, None] >> np.array([0, 2, 4, 6], dtype=np.uint8)
        return cls((codes & 3).astype(np.int8).reshape(-1) - np.int8(1), parameters, binding)

    def pack(self) -> bytes:
        """The key in 1,024 bytes, two bits a coefficient: to be sealed at once and forgotten."""
        codes = (self.coefficients() + 1).astype(np.uint8).reshape(-1, 4)
        packed: NDArray[np.uint8] = (codes << np.array([0, 2, 4, 6], dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
        return packed.tobytes()

    def coefficients(self) -> NDArray[np.int8]:
        """A copy of the ternary polynomial, int8[4096]."""
        self._refuse_if_closed()
        return self._coefficients.copy()

    def multiply(self, polynomials: Words, *, in_place: bool = False) -> Words:
        """Multiply uint64[P, 4096] by the key modulo (x^4096 + 1, q), exactly; into their place if that is allowed."""
        self._refuse_if_closed()
        return multiply_small(polynomials, self._spectrum, in_place=in_place)

    def inner(self, vector: Words) -> int:
        """Inner product of uint64[4096] with the key modulo q, in [0, q)."""
        self._refuse_if_closed()
        return inner(vector, self._coefficients.astype(np.int64))

    def tag(self, message: bytes) -> bytes:
        """Prove possession: HMAC-SHA256 of a public message, 32 bytes, that only who has the key can make."""
        return hmac.new(self.pack(), b"fedjoint/2/possession\x00" + message, hashlib.sha256).digest()

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, which only who has the key can make: HMAC-SHA256 by key and run."""
        message = b"fedjoint/2/derive\x00" + bytes.fromhex(self.key_id) + purpose.encode()
        return hmac.new(self.pack(), message, hashlib.sha256).digest()

    def keep_rounds(self, journal: RoundJournal, *, last_round: int = -1) -> None:
        """Write each round down from now on, and encrypt only after those of before.

        Args:
            journal: Where; the key closes it when it is closed.
            last_round: The last one written there, -1 if none.

        Raises:
            EncryptionError: the key has a journal already.
        """
        self._refuse_if_closed()
        if self._journal is not None:
            raise EncryptionError(f"the key {self.key_id[:16]} has a file already", remedy="Use that one.")
        if self._last_round > last_round:
            journal.write(self._last_round)
        self._journal, self._last_round = journal, max(self._last_round, last_round)

    @property
    def last_round(self) -> int:
        """The last round claimed for an encryption; -1 if none was."""
        return self._last_round

    def begin_round(self, round_number: int) -> None:
        """Claim a round for this holder's one encryption in it, on file first if the key has one.

        Raises:
            EncryptionError: the round is not after the last one, or beyond those agreed. Two encryptions of one
                holder in one round would tell how they differ.
        """
        self._refuse_if_closed()
        if round_number <= self._last_round:
            raise EncryptionError(
                f"round {round_number} was encrypted under this key already",
                expected=f"a round after {self._last_round}",
                remedy="Answer the round's task once; a new run has a new key.",
            )
        if round_number > self.parameters.rounds:
            raise EncryptionError(
                f"round {round_number} under a key for {self.parameters.rounds} rounds", remedy="Make a new key."
            )
        self._last_round = round_number
        if self._journal is not None:
            self._journal.write(round_number)

    def count_false_sum(self) -> None:
        """Remember that a sum was not what it was said to be."""
        self._false_sums += 1

    def require_trust(self) -> None:
        """Refuse to go on opening sums for a coordinator that keeps sending false ones.

        Raises:
            EncryptionError: after ``MAX_FALSE_SUMS`` of them.
        """
        if self._false_sums >= MAX_FALSE_SUMS:
            raise EncryptionError(
                f"{self._false_sums} false sums came under the key {self.key_id[:16]}: it opens no more",
                remedy="Leave the run; whoever sent them is attacking the key, or has a broken machine.",
            )

    def close(self) -> None:
        """Overwrite the key, as far as Python can: copies that libraries made are not reached."""
        self._coefficients.fill(0)
        self._spectrum.fill(0)
        self._closed = True
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise EncryptionError(f"the key {self.key_id[:16]} was wiped", remedy="Start a new run with a new key.")

    def __repr__(self) -> str:
        return f"SecretKey({self.key_id[:16]}, contents hidden)"

    def _refuse(self, *_: object) -> NoReturn:
        raise EncryptionError("a secret key is not copied, pickled or compared", remedy="Compare key_id.")

    __eq__ = _refuse
    __ne__ = _refuse
    __copy__ = _refuse
    __deepcopy__ = _refuse
    __reduce_ex__ = _refuse
    __hash__ = None  # type: ignore[assignment]
