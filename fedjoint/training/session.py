"""One run under one agreement: what both sides derive from the two, and sign for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from fedjoint.agreement.signing import SignedAgreement, statement_bytes
from fedjoint.agreement.terms import Terms
from fedjoint.encryption.binding import Binding
from fedjoint.encryption.frames import FrameHeader
from fedjoint.encryption.parameters import Parameters, agreed_parameters
from fedjoint.identity.keys import Identity

__all__ = ["Session"]


@dataclass(frozen=True, kw_only=True)
class Session:
    """An agreement and the id of a run under it (32 lower-case hex digits).

    Raises:
        InvalidValue: the id is malformed.
    """

    agreement: SignedAgreement
    run_id: str

    def __post_init__(self) -> None:
        self.binding  # noqa: B018  (its constructor checks the id)

    @property
    def terms(self) -> Terms:
        """The agreement's terms."""
        return self.agreement.terms

    @cached_property
    def parameters(self) -> Parameters:
        """The encryption's public parameters."""
        return agreed_parameters(self.terms)

    @property
    def address(self) -> dict[str, str]:
        """What every task says, as keyword arguments."""
        return {"agreement_sha256": self.agreement.sha256, "run_id": self.run_id}

    @property
    def binding(self) -> Binding:
        """What keys and frames of this run are bound to."""
        return Binding(agreement_sha256=self.agreement.sha256, run_id=self.run_id)

    def frame(self, kind: Literal["update", "sum", "sample"], round_number: int, key_id: str) -> FrameHeader:
        """What a frame of this run must say."""
        return FrameHeader(kind=kind, binding=self.binding, round_number=round_number, key_id=key_id)

    def sign(self, party: Identity, purpose: str, facts: Any) -> str:
        """A party's signature of facts, worth nothing in another run or for another purpose."""
        return party.sign(purpose, self._statement(facts))

    def check(self, party_id: str, purpose: str, facts: Any, signature: str) -> None:
        """Accept a holder's signature of facts, or refuse it.

        Raises:
            IdentityError: it is not that holder's, or for another run, purpose or facts.
        """
        self.terms.holder(party_id).identity.verify(purpose, self._statement(facts), signature)

    def _statement(self, facts: Any) -> bytes:
        return statement_bytes(self.agreement.sha256, self.run_id, facts)
