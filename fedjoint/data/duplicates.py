"""Which of a holder's records another holder has too, found without either showing the rest (openmined-psi).

Data sold twice should not be paid twice. Two holders that consent compare digests of their encoded records by private
set intersection: each digest is blinded with both holders' secret exponents, so that only equal ones can be recognised.
The one that asks learns which of its *own* records the other has; the one that answers learns how many it asked about.

What it does not do: find records that differ in a single cell, or stop a holder from asking about records that it only
guesses. Each holder therefore answers once for each asker and agreement, and nobody may ask about more records than its
certified number.

Source: Meadows 1986; Buddhavarapu et al. 2020; the library's ECDH protocol over the curve P-256.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from fedjoint.data.records import Examples
from fedjoint.errors import DataError

__all__ = ["DuplicateAnswerer", "DuplicateSeeker", "record_digests", "without"]

T = TypeVar("T")

#: A blinded digest is 33 bytes and some framing.
_BYTES_PER_RECORD, _FRAMING_BYTES = 64, 1024


def record_digests(examples: Examples, *, salt: bytes) -> tuple[str, ...]:
    """A keyed digest of each encoded record, its target included.

    Args:
        examples: The records.
        salt: The same for all holders of an agreement and no other: its hash, say.

    Example:
        >>> one = Examples(features=np.zeros((2, 1), np.float32), targets=np.zeros(2, np.float32))
        >>> len(set(record_digests(one, salt=b"agreement")))      # equal records, equal digests
        1
    """
    rows = np.ascontiguousarray(examples.features, dtype="<f4")
    targets = np.ascontiguousarray(examples.targets, dtype="<f4")
    return tuple(
        hmac.new(salt, row.tobytes() + target.tobytes(), hashlib.sha256).hexdigest()
        for row, target in zip(rows, targets, strict=True)
    )


class DuplicateSeeker:
    """The holder that asks which of its records another one has.

    Args:
        digests: Of its records; equal ones are asked about once.
        secret: What :attr:`secret` was, to go on in another process; None: a new one.

    Raises:
        DataError: there is no record, or the library is missing.
    """

    def __init__(self, digests: Sequence[str], *, secret: bytes | None = None) -> None:
        if not digests:
            raise DataError("there are no records to look for")
        self._digests, self._asked = tuple(digests), tuple(dict.fromkeys(digests))
        library = _library().client
        self._client = (
            library.CreateWithNewKey(True) if secret is None else _refusing(lambda: library.CreateFromKey(secret, True))
        )

    @property
    def secret(self) -> bytes:
        """The exponent that blinds what is asked: whoever has it can test guesses at the records."""
        return bytes(self._client.GetPrivateKeyBytes())

    def request(self) -> bytes:
        """The blinded digests, for the other holder."""
        return bytes(self._client.CreateRequest(list(self._asked)).SerializeToString())

    def common(self, setup: bytes, response: bytes) -> tuple[int, ...]:
        """Places of the records that the other holder has too, in order.

        Args:
            setup: From :meth:`DuplicateAnswerer.answer`.
            response: From the same.

        Raises:
            DataError: the bytes are no answer to the request.
        """
        library = _library()

        def intersect() -> list[int]:
            parsed = library.ServerSetup(), library.Response()
            parsed[0].ParseFromString(setup)
            parsed[1].ParseFromString(response)
            return list(self._client.GetIntersection(*parsed))

        found = {self._asked[place] for place in _refusing(intersect)}
        return tuple(place for place, digest in enumerate(self._digests) if digest in found)


class DuplicateAnswerer:
    """The holder that is asked; it answers once.

    Args:
        digests: Of its records.
        asker_num_examples: Certified examples of the holder that asks: it may ask about no more records.

    Raises:
        DataError: there is no record, or the library is missing.
    """

    def __init__(self, digests: Sequence[str], *, asker_num_examples: int) -> None:
        if not digests:
            raise DataError("there are no records to compare with")
        self._digests, self._most = tuple(dict.fromkeys(digests)), asker_num_examples
        self._answered = False

    def answer(self, request: bytes) -> tuple[bytes, bytes]:
        """Blind the asked digests a second time, and its own once.

        Returns:
            Setup and response, for the holder that asked.

        Raises:
            DataError: asked before, about more records than the asker has, or with bytes that are no request.
        """
        if self._answered:
            raise DataError("this holder was asked before", remedy="One question for each pair of holders.")
        if len(request) > self._most * _BYTES_PER_RECORD + _FRAMING_BYTES:
            raise DataError(f"a request of {len(request)} bytes", expected=f"one about {self._most} records at most")
        library = _library()

        def respond() -> tuple[bytes, bytes]:
            server, asked = library.server.CreateWithNewKey(True), library.Request()
            asked.ParseFromString(request)
            if len(asked.encrypted_elements) > self._most:
                raise ValueError("too many records")
            setup = server.CreateSetupMessage(0.0, self._most, list(self._digests), library.DataStructure.RAW)
            return setup.SerializeToString(), server.ProcessRequest(asked).SerializeToString()

        made = _refusing(respond)
        self._answered = True
        return made


def without(examples: Examples, places: Sequence[int]) -> Examples:
    """The records but for those at some places: what may still be brought where another holder registered them first.

    Raises:
        DataError: nothing is left.
    """
    kept = np.setdiff1d(np.arange(len(examples)), np.asarray(places, dtype=np.int64))
    if not kept.size:
        raise DataError("every record is another holder's too", remedy="Nothing is left to take part with.")
    return examples.take(kept)


def _refusing(act: Callable[[], T]) -> T:
    try:
        return act()
    except Exception as problem:  # the library raises RuntimeError, ValueError and protobuf's own
        raise DataError(
            f"these bytes are no message of the comparison: {type(problem).__name__}", remedy="Start it again."
        ) from None


def _library() -> Any:
    try:
        import private_set_intersection.python as library
    except ImportError:
        raise DataError("openmined-psi is not installed", remedy="pip install 'fedjoint[psi]'") from None
    return library
