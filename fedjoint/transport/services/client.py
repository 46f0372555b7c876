"""A caller's end of the exchange's services: each call is a method, and each refusal an error with its remedy."""

from __future__ import annotations

from types import TracebackType
from typing import Any, TypeVar

import grpc
import tenacity

from fedjoint.transport.link.client import ClientCredentials, connection_options
from fedjoint.transport.link.settings import MAX_DOCUMENT_BYTES, LinkSettings
from fedjoint.transport.link.versions import SOFTWARE
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.protocol import API_VERSIONS, SERVICE
from fedjoint.transport.services.refusals import Unreachable, refusal_of

__all__ = ["ExchangeClient"]

_Reply = TypeVar("_Reply")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class ExchangeClient:
    """Asks an exchange, over mutual TLS; a context manager.

    A call that got no answer is made again for a while: every call may be repeated. A refusal is final.

    Args:
        target: ``host:port`` of the exchange.
        credentials: Mutual TLS; there is no way to connect without.
        answer_s: Seconds that one call may take.
        patience_s: Seconds for which a call without an answer is made again.
        proxy: ``http://host:port`` of a proxy to go through by HTTP CONNECT; None takes the environment's.

    Raises:
        IdentityError: of every call: there was no answer, and this node's certificate has expired.
        TransportError: of every call: no answer (:class:`~.refusals.Unreachable`), or another version of the protocol.
        FedjointError: of every call: what the exchange raised.
    """

    def __init__(
        self,
        target: str,
        credentials: ClientCredentials,
        *,
        answer_s: float = 30.0,
        patience_s: float = 30.0,
        proxy: str | None = None,
    ) -> None:
        self._target, self._answer_s, self._patience_s = target, answer_s, patience_s
        self._credentials = credentials
        limit = "grpc.max_receive_message_length"
        options = [one for one in connection_options(LinkSettings(), credentials, proxy) if one[0] != limit]
        self._channel = grpc.secure_channel(
            target, credentials.secure(), options=[*options, (limit, MAX_DOCUMENT_BYTES)]
        )
        self._greeted = False

    def __enter__(self) -> ExchangeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def hello(self) -> api.HelloReply:
        """Agree on a version; every other call does so first."""
        oldest, newest = API_VERSIONS
        request = api.HelloRequest(oldest_version=oldest, newest_version=newest, software=SOFTWARE)
        reply: api.HelloReply = self._ask("Hello", request, api.HelloReply)
        self._greeted = True
        return reply

    def enrol(self, request: api.EnrolRequest) -> api.EnrolReply:
        """Become a holder of the exchange, by an invitation."""
        return self._call("Enrol", request, api.EnrolReply)

    def renew(self, request: api.RenewRequest) -> api.RenewReply:
        """Have a certificate for a new key."""
        return self._call("Renew", request, api.RenewReply)

    def leave(self, request: api.LeaveRequest) -> api.LeaveReply:
        """Leave the exchange."""
        return self._call("Leave", request, api.LeaveReply)

    def register_dataset(self, request: api.RegisterDatasetRequest) -> api.RegisterDatasetReply:
        """Say what records there are."""
        return self._call("RegisterDataset", request, api.RegisterDatasetReply)

    def agreements(self) -> api.AgreementsReply:
        """The agreements that name this holder."""
        return self._call("Agreements", api.AgreementsRequest(), api.AgreementsReply)

    def get_agreement(self, sha256: str) -> bytes:
        """One of them as a document, to be read by :func:`fedjoint.agreement.signing.read_agreement`."""
        reply = self._call("GetAgreement", api.GetAgreementRequest(sha256=sha256), api.GetAgreementReply)
        return bytes(reply.agreement)

    def sign(self, sha256: str, signature: str) -> api.SignReply:
        """Sign an agreement."""
        return self._call("Sign", api.SignRequest(sha256=sha256, signature=signature), api.SignReply)

    def decline(self, sha256: str, reason: str) -> api.DeclineReply:
        """Say that this holder will not sign."""
        return self._call("Decline", api.DeclineRequest(sha256=sha256, reason=reason), api.DeclineReply)

    def run_status(self, agreement: str = "") -> api.RunStatusReply:
        """How far the runs are; of one agreement or of all."""
        return self._call("RunStatus", api.RunStatusRequest(agreement=agreement), api.RunStatusReply)

    def statements(self) -> api.StatementsReply:
        """This holder's statements."""
        return self._call("Statements", api.StatementsRequest(), api.StatementsReply)

    def get_statement(self, identifier: str) -> bytes:
        """One of them as a signed document."""
        reply = self._call("GetStatement", api.GetStatementRequest(id=identifier), api.GetStatementReply)
        return bytes(reply.statement)

    def claims(self, claim: str = "") -> tuple[bytes, ...]:
        """The claims that name this holder, or one of them, each as a document."""
        return tuple(map(bytes, self._call("Claims", api.ClaimsRequest(claim=claim), api.ClaimsReply).claims))

    def sign_claim_step(self, step: bytes, signature: str) -> api.SignClaimStepReply:
        """Sign a claim's next step."""
        request = api.SignClaimStepRequest(step=step, signature=signature)
        return self._call("SignClaimStep", request, api.SignClaimStepReply)

    def checkpoints(self, request: api.CheckpointsRequest) -> api.CheckpointsReply:
        """The checkpoints that wait for this holder's countersignature."""
        return self._call("Checkpoints", request, api.CheckpointsReply)

    def witness(self, request: api.WitnessRequest) -> api.WitnessReply:
        """Countersign a checkpoint."""
        return self._call("Witness", request, api.WitnessReply)

    def propose(self, request: api.ProposeRequest) -> api.ProposeReply:
        """Have an agreement written; an operator's call."""
        return self._call("Propose", request, api.ProposeReply)

    def status(self) -> bytes:
        """How the exchange stands, as JSON; an operator's call."""
        return bytes(self._call("Status", api.StatusRequest(), api.StatusReply).status)

    def _call(self, method: str, request: Any, kind: type[_Reply]) -> _Reply:
        if not self._greeted:
            self.hello()
        reply: _Reply = self._ask(method, request, kind)
        return reply

    def _ask(self, method: str, request: Any, kind: Any) -> Any:
        call = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=kind.FromString,
        )

        def once() -> Any:
            try:
                return call(request, timeout=self._answer_s)
            except grpc.RpcError as problem:
                refusal = refusal_of(problem, self._target)
                if isinstance(refusal, Unreachable):
                    self._credentials.require_current()
                raise refusal from None

        again = tenacity.Retrying(
            wait=tenacity.wait_random_exponential(_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
            stop=tenacity.stop_after_delay(self._patience_s),
            retry=tenacity.retry_if_exception_type(Unreachable),
            reraise=True,
        )
        return again(once)
