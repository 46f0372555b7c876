"""What an exchange does when a node asks: one method for each call, behind the server that has checked who asks."""

from __future__ import annotations

from typing import Protocol

from fedjoint.identity.certificates import Certificate
from fedjoint.identity.keys import PublicIdentity
from fedjoint.transport.services import exchange_pb2 as api

__all__ = ["Handler", "party_of", "to_party"]


class Handler(Protocol):
    """Answers the calls of ``exchange.proto``.

    Each method is called in a thread, several at a time. It gets the caller's certificate, which was admitted and has
    the role for the call, and the request, whose size was bounded and whose fields were not looked at. To refuse it
    raises a :class:`~fedjoint.errors.FedjointError`, whose words reach the caller; of any other exception nothing does.
    A call that is repeated, as after a lost reply, must give the same answer.
    """

    def enrol(self, caller: Certificate, request: api.EnrolRequest) -> api.EnrolReply:
        """Take a party in: its token is right and unused, or was used for the same request; it signed for its keys."""
        ...

    def renew(self, caller: Certificate, request: api.RenewRequest) -> api.RenewReply:
        """Issue the caller a certificate for a new key."""
        ...

    def leave(self, caller: Certificate, request: api.LeaveRequest) -> api.LeaveReply:
        """Revoke the caller's certificates and keep it out of further agreements."""
        ...

    def register_dataset(self, caller: Certificate, request: api.RegisterDatasetRequest) -> api.RegisterDatasetReply:
        """Note that the caller has records of a schema."""
        ...

    def agreements(self, caller: Certificate, request: api.AgreementsRequest) -> api.AgreementsReply:
        """The agreements that name the caller."""
        ...

    def get_agreement(self, caller: Certificate, request: api.GetAgreementRequest) -> api.GetAgreementReply:
        """One of them as a document."""
        ...

    def sign(self, caller: Certificate, request: api.SignRequest) -> api.SignReply:
        """Add the caller's signature."""
        ...

    def decline(self, caller: Certificate, request: api.DeclineRequest) -> api.DeclineReply:
        """Note that the caller will not sign."""
        ...

    def run_status(self, caller: Certificate, request: api.RunStatusRequest) -> api.RunStatusReply:
        """How far the runs of the caller's agreements are."""
        ...

    def statements(self, caller: Certificate, request: api.StatementsRequest) -> api.StatementsReply:
        """The caller's statements."""
        ...

    def get_statement(self, caller: Certificate, request: api.GetStatementRequest) -> api.GetStatementReply:
        """One of them as a document."""
        ...

    def claims(self, caller: Certificate, request: api.ClaimsRequest) -> api.ClaimsReply:
        """The claims that name the caller."""
        ...

    def sign_claim_step(self, caller: Certificate, request: api.SignClaimStepRequest) -> api.SignClaimStepReply:
        """Add the caller's signature to a claim's next step, and take the step once enough have signed it."""
        ...

    def checkpoints(self, caller: Certificate, request: api.CheckpointsRequest) -> api.CheckpointsReply:
        """The checkpoints that wait for the caller's countersignature."""
        ...

    def witness(self, caller: Certificate, request: api.WitnessRequest) -> api.WitnessReply:
        """Add the caller's countersignature to a checkpoint."""
        ...

    def propose(self, caller: Certificate, request: api.ProposeRequest) -> api.ProposeReply:
        """Write an agreement for the holders to review."""
        ...

    def status(self, caller: Certificate, request: api.StatusRequest) -> api.StatusReply:
        """How the exchange stands."""
        ...


def to_party(identity: PublicIdentity) -> api.Party:
    """A public identity as it travels."""
    return api.Party(
        id=identity.id, name=identity.name, signing_key=identity.signing_key, sealing_key=identity.sealing_key
    )


def party_of(message: api.Party) -> PublicIdentity:
    """The public identity that a message names.

    Raises:
        InvalidValue: malformed.
    """
    return PublicIdentity(
        id=message.id, name=message.name, signing_key=message.signing_key, sealing_key=message.sealing_key
    )
