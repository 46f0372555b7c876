"""Every error a user can meet, as one shallow tree.

Each class has a stable ``code`` that programs may compare; the message says what was got, what was expected and what to
do. An error that leaves a holder travels as ``code`` and message, so messages must never contain a record's values.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AgreementError",
    "BudgetExhausted",
    "ConfigError",
    "DataError",
    "EncryptionError",
    "Equivocation",
    "FedjointError",
    "FrameRefused",
    "IdentityError",
    "InvalidValue",
    "PoolError",
    "PrivacyError",
    "QuorumMissing",
    "RecordError",
    "TrainingError",
    "TransportError",
    "ValuationError",
]


class FedjointError(Exception):
    """Base of all errors that fedjoint raises on purpose.

    Args:
        problem: What was found, naming the value.
        expected: What would have been right, if that helps.
        remedy: What the reader can do now.

    Example:
        >>> print(DataError("no column 'agee'", expected="one of: age, sex", remedy="Correct data.target."))
        no column 'agee'; expected one of: age, sex. Correct data.target.
    """

    code: ClassVar[str] = "fedjoint"

    def __init__(self, problem: str, *, expected: str = "", remedy: str = "") -> None:
        self.problem, self.expected, self.remedy = problem, expected, remedy
        text = f"{problem}; expected {expected}" if expected else problem
        super().__init__(f"{text.rstrip('.')}. {remedy}".strip() if remedy else text)


class InvalidValue(FedjointError):
    """A constructor was given a value outside its range."""

    code = "value.invalid"


class ConfigError(FedjointError):
    """A configuration key or value that does not exist or does not fit."""

    code = "config.invalid"


class AgreementError(FedjointError):
    """An agreement that is malformed, tampered with, unsigned, or not the one agreed to."""

    code = "agreement.refused"


class IdentityError(FedjointError):
    """A key, signature or sealed box that does not belong to the party it claims."""

    code = "identity.refused"


class DataError(FedjointError):
    """Records that cannot be read or do not fit the agreed schema."""

    code = "data.refused"


class PrivacyError(FedjointError):
    """A privacy setting that cannot be met or accounted for."""

    code = "privacy.refused"


class BudgetExhausted(PrivacyError):
    """The next release would cost more than the holder's privacy budget allows."""

    code = "privacy.budget_exhausted"


class EncryptionError(FedjointError):
    """A value that cannot be encrypted, or a ciphertext that does not decrypt to what it must."""

    code = "encryption.refused"


class FrameRefused(EncryptionError):
    """Bytes from the network that are not the frame expected: malformed, replayed, unsigned, or of another run."""

    code = "encryption.frame_refused"


class Equivocation(EncryptionError):
    """Another sum is to be opened than the one that was confirmed in its place: whoever asks may be cheating."""

    code = "encryption.equivocation"


class QuorumMissing(EncryptionError):
    """A sum is to be opened that too few holders have confirmed to be the only one."""

    code = "encryption.quorum_missing"


class TrainingError(FedjointError):
    """A run that cannot start or go on: too few holders, a plan outside the agreement, disagreement on a sum."""

    code = "training.stopped"


class TransportError(FedjointError):
    """A connection, message or stream that breaks the link's rules or reached its limits."""

    code = "transport.refused"


class ValuationError(FedjointError):
    """A contribution that cannot be computed or was not opened alike."""

    code = "valuation.refused"


class PoolError(FedjointError):
    """A posting, payout or rule of the compensation pool that would break the books."""

    code = "pool.refused"


class RecordError(FedjointError):
    """A run record or run folder that is incomplete, altered or not signed as it says."""

    code = "record.broken"
