"""The secret key that all holders share, and that the coordinator never has.

It is a type of its own: what must not see a key is written against :class:`~fedjoint.encryption.ciphertext.Ciphertext`
and cannot be handed one by mistake. Its public side is its id only, as encryption here is symmetric.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.words import Words, inner, multiply_small, small_spectrum
from fedjoint.errors import EncryptionError, Equivocation

__all__ = ["MAX_FALSE_SUMS", "PACKED_KEY_BYTES", "KeyJournal", "SecretKey"]

#: Whether a made-up sum opens tells something of the key, a bit or so each time: no honest run meets even one.
MAX_FALSE_SUMS = 8
#: Two bits a coefficient.
PACKED_KEY_BYTES = DEGREE // 4


class KeyJournal(Protocol):
    """Where a key writes down what it is used for, before it is."""

    def write_round(self, round_number: int) -> None:
        """Keep the number of a round that is to be encrypted, so that it survives whatever comes next."""
        ...

    def write_confirmed(self, slot: int, sha256: str) -> None:
        """Keep what is to be opened in a place of the run, so that it survives whatever comes next."""
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
        self._rounds: list[int] = []
        self._confirmed: dict[int, str] = {}
        self._false_sums = 0
        self._journal: KeyJournal | None = None
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

    def keep_journal(
        self, journal: KeyJournal, *, rounds: Sequence[int] = (), confirmed: Mapping[int, str] | None = None
    ) -> None:
        """Write down from now on what the key is used for, and go on after what was written before.

        Args:
            journal: Where; the key closes it when it is closed.
            rounds: Those written there, in order.
            confirmed: What is written there to be opened, by place.

        Raises:
            EncryptionError: the key has a journal already.
        """
        self._refuse_if_closed()
        if self._journal is not None:
            raise EncryptionError(f"the key {self.key_id[:16]} has a file already", remedy="Use that one.")
        for number in self._rounds:
            journal.write_round(number)
        for slot, sha256 in self._confirmed.items():
            journal.write_confirmed(slot, sha256)
        self._journal = journal
        self._rounds += rounds
        self._confirmed |= confirmed or {}

    @property
    def rounds(self) -> tuple[int, ...]:
        """The rounds whose encryption was begun, in order."""
        return tuple(self._rounds)

    def confirm(self, slot: int, sha256: str) -> None:
        """Claim a place of the run for what is to be opened in it, on file first if the key has one.

        Args:
            slot: The place.
            sha256: Of all that says what is to be opened; the same may be claimed again.

        Raises:
            Equivocation: something else was claimed for the place before.
        """
        self._refuse_if_closed()
        before = self._confirmed.get(slot)
        if before is not None and before != sha256:
            raise Equivocation(
                f"another sum was confirmed in place {slot} of this run, {before[:16]} and not {sha256[:16]}",
                expected="one sum in a round",
                remedy="Two sums of a round tell what their difference is: ask the coordinator why there are two.",
            )
        if before is None:
            if self._journal is not None:
                self._journal.write_confirmed(slot, sha256)
            self._confirmed[slot] = sha256

    def begin_round(self, round_number: int) -> None:
        """Claim a round for this holder's one encryption in it, on file first if the key has one.

        Raises:
            EncryptionError: the round is not after the last one, or beyond those agreed. Two encryptions of one
                holder in one round would tell how they differ.
        """
        self._refuse_if_closed()
        last = max(self._rounds, default=-1)
        if round_number <= last:
            raise EncryptionError(
                f"round {round_number} was encrypted under this key already",
                expected=f"a round after {last}",
                remedy="Answer the round's task once; a new run has a new key.",
            )
        if round_number > self.parameters.rounds:
            raise EncryptionError(
                f"round {round_number} under a key for {self.parameters.rounds} rounds", remedy="Make a new key."
            )
        self._rounds.append(round_number)
        if self._journal is not None:
            self._journal.write_round(round_number)

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
