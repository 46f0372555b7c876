"""Which run under which agreement a message of the encryption belongs to: signed into offers and frames alike."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["Binding"]


@strict
@dataclass(frozen=True, kw_only=True)
class Binding:
    """One run under one agreement.

    Args:
        agreement_sha256: 64 lower-case hex digits.
        run_id: 32 lower-case hex digits.

    Raises:
        InvalidValue: malformed digits.
    """

    agreement_sha256: str
    run_id: str

    def __post_init__(self) -> None:
        for name, value, length in (("agreement_sha256", self.agreement_sha256, 64), ("run_id", self.run_id, 32)):
            if not re.fullmatch(rf"[0-9a-f]{{{length}}}", value):
                raise InvalidValue(f"{name} = '{value[:70]}'", expected=f"{length} lower-case hex digits")
