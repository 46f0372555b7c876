"""An exchange in memory for tests of nodes: real certificates and TLS, the real server, a handler of a few lines."""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.errors import AgreementError, IdentityError
from fedjoint.identity.certificates import NodeKey, check_certificate, issue_certificate
from fedjoint.identity.invitation import ENROL, Invitation
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.transport.grpc_grid import GrpcGrid
from fedjoint.transport.link.server import LinkServer
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.handler import party_of, to_party
from fedjoint.transport.services.server import ExchangeServices
from tests.network import QUICK, Network, now


class ExchangeDouble:
    """What an exchange knows, in memory."""

    def __init__(self) -> None:
        self.network = Network()
        self.identity = Identity.create("exchange", "Test exchange")
        self.parties: dict[str, PublicIdentity] = {}
        self.datasets: dict[str, api.RegisterDatasetRequest] = {}
        self.documents: dict[str, SignedAgreement] = {}
        self.declined: dict[str, str] = {}
        self.statements_of: dict[str, dict[str, bytes]] = {}
        self.pending: list[api.PendingCheckpoint] = []
        self.witnessed: list[tuple[str, api.WitnessRequest]] = []
        self.days = 30
        self._tokens: dict[str, tuple[str, bytes]] = {}  # token's hash to party and the request it was used for
        self.port = 0

    # -- what its operator does

    def invite(self, party: str, **changed) -> Invitation:
        key, token = NodeKey.generate(), secrets.token_urlsafe(32)
        authority = self.network.authority
        pem = issue_certificate(authority, key.request(party), party=party, role="invited", now=now(), days=1)
        self._tokens[_hash(token)] = (party, b"")
        fields = {
            "party": party,
            "exchange": f"localhost:{self.port}",
            "exchange_name": "Test exchange",
            "expires_at": (now() + timedelta(days=1)).isoformat(),
            "token": token,
            "key": key.pem.decode(),
            "certificate": pem.decode(),
            "authority": authority.pem.decode(),
        }
        return Invitation(**(fields | changed))

    def propose(self, terms) -> str:
        sha256 = terms_sha256(terms)
        signature = sign_terms(terms, self.identity)
        self.documents[sha256] = SignedAgreement(terms=terms, sha256=sha256).with_signatures(
            {self.identity.id: signature}
        )
        return sha256

    def admit(self, pem):
        certificate = check_certificate(pem, self.network.authority.pem, now=now())
        if certificate.party in self.network.revoked:
            raise IdentityError(f"the certificate of '{certificate.party}' was revoked")
        return certificate

    def admit_link(self, pem):
        certificate = self.admit(pem)
        if certificate.role != "holder":
            raise IdentityError("no holder")
        return certificate.party

    @contextmanager
    def serving(self, holders=()) -> Iterator[GrpcGrid]:
        grid = GrpcGrid(holders)
        services = ExchangeServices(self, self.admit)
        with LinkServer(
            f"127.0.0.1:{self.port}",
            self.network.server_credentials,
            admit=self.admit_link,
            on_reply=grid.on_reply,
            settings=QUICK,
            services=services.add_to,
        ) as server:
            self.port = server.port
            grid.serve_through(server)
            yield grid
        services.close()

    # -- what it answers

    def enrol(self, caller, request):
        party, used_for = self._tokens.get(_hash(request.token), ("", b""))
        if party != caller.party or party != request.party.id or used_for not in (b"", request.request):
            raise IdentityError("the token is none, or was used", remedy="Ask for another invitation.")
        identity = party_of(request.party)
        identity.verify(ENROL, request.request, request.signature)
        self._tokens[_hash(request.token)] = (party, request.request)
        self.parties[party] = identity
        return api.EnrolReply(certificate=self._issue(party, request.request), exchange=to_party(self.identity.public))

    def renew(self, caller, request):
        return api.RenewReply(certificate=self._issue(caller.party, request.request))

    def _issue(self, party, request):
        authority = self.network.authority
        return issue_certificate(authority, request, party=party, role="holder", now=now(), days=self.days)

    def leave(self, caller, request):
        self.network.revoked.add(caller.party)
        return api.LeaveReply()

    def register_dataset(self, caller, request):
        self.datasets[caller.party] = request
        return api.RegisterDatasetReply(dataset=f"{caller.party}/{request.name}")

    def agreements_of(self, party) -> Mapping[str, SignedAgreement]:
        return {sha: one for sha, one in self.documents.items() if party in one.terms.holder_ids}

    def agreements(self, caller, request):
        return api.AgreementsReply(
            agreements=[
                api.AgreementSummary(
                    sha256=sha,
                    purpose=one.terms.purpose,
                    state="proposed" if one.unsigned else "signed",
                    unsigned_by=one.unsigned,
                )
                for sha, one in self.agreements_of(caller.party).items()
            ]
        )

    def get_agreement(self, caller, request):
        found = self.agreements_of(caller.party).get(request.sha256)
        if found is None:
            raise AgreementError("there is no such agreement of yours")
        return api.GetAgreementReply(agreement=found.to_bytes())

    def sign(self, caller, request):
        found = self.documents[request.sha256].with_signatures({caller.party: request.signature})
        self.documents[request.sha256] = found
        return api.SignReply(unsigned_by=found.unsigned)

    def decline(self, caller, request):
        self.declined[request.sha256] = request.reason
        return api.DeclineReply()

    def run_status(self, caller, request):
        return api.RunStatusReply(runs=[api.RunSummary(run_id="ab" * 16, state="running", round=2, rounds=3)])

    def statements(self, caller, request):
        found = self.statements_of.get(caller.party, {})
        return api.StatementsReply(statements=[api.StatementSummary(id=name) for name in found])

    def get_statement(self, caller, request):
        return api.GetStatementReply(statement=self.statements_of[caller.party][request.id])

    def checkpoints(self, caller, request):
        return api.CheckpointsReply(pending=self.pending, again_ms=50)

    def witness(self, caller, request):
        self.witnessed.append((caller.party, request))
        self.pending = []
        return api.WitnessReply()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
