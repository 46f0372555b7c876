"""What the exchange answers to calls: one method for each, authorised already by the certificate's role."""

from __future__ import annotations

import logging
import re

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.schema import Schema
from fedjoint.errors import DataError, PoolError, RecordError
from fedjoint.exchange.certification import Gate, Now, timestamp
from fedjoint.exchange.claims import ClaimDesk
from fedjoint.exchange.members_store_sql import DatasetEntry
from fedjoint.exchange.operating import Office, remote_config, remote_reference
from fedjoint.exchange.proposing import Wanted
from fedjoint.exchange.runs_store_sql import RunEntry
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.exchange.witnessing import WitnessDesk
from fedjoint.identity.certificates import Certificate
from fedjoint.identity.keys import PublicIdentity
from fedjoint.pool.claim_step import Step
from fedjoint.strict import build
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.handler import party_of, to_party

__all__ = ["ExchangeService"]

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_UNITS = ("record", "patient")
_MAX_EXAMPLES = 10**9
#: The largest step has 100 hashes and 2,000 letters, each of at most 12 bytes when escaped.
_MAX_STEP_BYTES = 64 << 10
#: How soon a holder asks for checkpoints again: soon while a run is on, else rarely.
_SOON_MS, _LATER_MS = 250, 5_000


class ExchangeService:
    """A :class:`~fedjoint.transport.services.handler.Handler` on the exchange's database.

    Args:
        identity: The exchange.
        store: Its database.
        gate: Issues certificates.
        desk: Where checkpoints wait.
        office: Does what operators ask for.
        claims: Where claims are filed and decided; None: this exchange keeps no pool.
        now: The present.
    """

    def __init__(
        self,
        identity: PublicIdentity,
        store: ExchangeStore,
        *,
        gate: Gate,
        desk: WitnessDesk,
        office: Office,
        now: Now,
        claims: ClaimDesk | None = None,
    ) -> None:
        self._identity, self._store, self._gate, self._desk = identity, store, gate, desk
        self._office, self._now, self._claims = office, now, claims

    def enrol(self, caller: Certificate, request: api.EnrolRequest) -> api.EnrolReply:
        """Take a party in by its invitation."""
        certificate = self._gate.enrol(
            caller.serial,
            party_of(request.party),
            token=request.token,
            request=request.request,
            signature=request.signature,
        )
        return api.EnrolReply(certificate=certificate, exchange=to_party(self._identity))

    def renew(self, caller: Certificate, request: api.RenewRequest) -> api.RenewReply:
        """Issue a certificate for a new key."""
        return api.RenewReply(certificate=self._gate.renew(caller.party, request.request))

    def leave(self, caller: Certificate, request: api.LeaveRequest) -> api.LeaveReply:
        """Revoke the caller's certificates; what it has signed stays signed."""
        reason = f"left: {request.reason}"
        self._store.members.revoke(caller.party, state="left", reason=reason, at=timestamp(self._now()))
        return api.LeaveReply()

    def register_dataset(self, caller: Certificate, request: api.RegisterDatasetRequest) -> api.RegisterDatasetReply:
        """Note what records the caller has."""
        if not _NAME.fullmatch(request.name):
            raise DataError(f"dataset name '{request.name[:80]}'", expected=f"a match of {_NAME.pattern}")
        schema = parse_canonical(request.schema, error=DataError, where="schema")
        build(Schema, schema, error=DataError, where="schema")
        if request.unit not in _UNITS or not 1 <= request.num_examples <= _MAX_EXAMPLES:
            raise DataError(
                f"{request.num_examples} examples of unit '{request.unit[:20]}'",
                expected=f"1 to {_MAX_EXAMPLES}, of {' or '.join(_UNITS)}",
            )
        entry = DatasetEntry(
            party=caller.party,
            name=request.name,
            schema=request.schema.decode(),
            num_examples=request.num_examples,
            unit=request.unit,
            fits=request.quality.fits,
            columns=request.quality.columns,
            present=request.quality.present,
            registered_at=timestamp(self._now()),
        )
        self._store.members.register(entry)
        return api.RegisterDatasetReply(dataset=request.name)

    def agreements(self, caller: Certificate, request: api.AgreementsRequest) -> api.AgreementsReply:
        """The agreements that name the caller."""
        return api.AgreementsReply(
            agreements=[
                api.AgreementSummary(
                    sha256=found.agreement.sha256,
                    purpose=found.agreement.terms.purpose,
                    state=found.state,
                    unsigned_by=found.agreement.unsigned,
                    proposed_at=found.proposed_at,
                )
                for found in self._store.agreements.all(party=caller.party)
            ]
        )

    def get_agreement(self, caller: Certificate, request: api.GetAgreementRequest) -> api.GetAgreementReply:
        """One of them as a document."""
        found = self._store.agreements.get(request.sha256, party=caller.party)
        return api.GetAgreementReply(agreement=found.agreement.to_bytes())

    def sign(self, caller: Certificate, request: api.SignRequest) -> api.SignReply:
        """Add the caller's signature."""
        at = timestamp(self._now())
        missing = self._store.agreements.sign(request.sha256, caller.party, request.signature, at=at)
        return api.SignReply(unsigned_by=missing)

    def decline(self, caller: Certificate, request: api.DeclineRequest) -> api.DeclineReply:
        """Note that the caller will not sign."""
        at = timestamp(self._now())
        self._store.agreements.decline(request.sha256, caller.party, request.reason, at=at)
        return api.DeclineReply()

    def run_status(self, caller: Certificate, request: api.RunStatusRequest) -> api.RunStatusReply:
        """How far the runs of the caller's agreements are."""
        if request.agreement:
            mine = {self._store.agreements.get(request.agreement, party=caller.party).agreement.sha256}
        else:
            mine = {found.agreement.sha256 for found in self._store.agreements.all(party=caller.party)}
        return api.RunStatusReply(runs=[_summary(run) for run in self._store.runs.all() if run.agreement in mine])

    def statements(self, caller: Certificate, request: api.StatementsRequest) -> api.StatementsReply:
        """The caller's statements: of runs, then of the pool."""
        of_runs = [
            api.StatementSummary(id=found.run_id, run_id=found.run_id, agreement=found.agreement, at=found.at)
            for found in self._store.runs.statements(caller.party)
        ]
        of_pool = [
            api.StatementSummary(id=found.id, at=found.at) for found in self._store.pool_statements.of(caller.party)
        ]
        return api.StatementsReply(statements=[*of_runs, *of_pool])

    def get_statement(self, caller: Certificate, request: api.GetStatementRequest) -> api.GetStatementReply:
        """One of them as a signed document."""
        documents = {found.run_id: found.document for found in self._store.runs.statements(caller.party)}
        documents |= {found.id: found.document for found in self._store.pool_statements.of(caller.party)}
        if request.id in documents:
            return api.GetStatementReply(statement=documents[request.id].encode())
        raise RecordError(
            f"there is no statement '{request.id[:40]}' of '{caller.party}'",
            remedy="List them: fedjoint holder statements",
        )

    def claims(self, caller: Certificate, request: api.ClaimsRequest) -> api.ClaimsReply:
        """The claims that the caller may see."""
        found = self._claim_desk().claims(caller.party, request.claim)
        return api.ClaimsReply(claims=[canonical_bytes(claim) for claim in found])

    def sign_claim_step(self, caller: Certificate, request: api.SignClaimStepRequest) -> api.SignClaimStepReply:
        """Add the caller's signature to a step of a claim, and take the step if there are enough."""
        desk = self._claim_desk()
        if len(request.step) > _MAX_STEP_BYTES:
            raise PoolError(f"a step of {len(request.step)} bytes", expected=f"at most {_MAX_STEP_BYTES}")
        value = parse_canonical(request.step, error=PoolError, where="step")
        step = build(Step, value, error=PoolError, where="step")
        taken = desk.sign(caller.party, step, request.signature)
        _log.info("claim step signed", extra={"facts": {"claim": step.claim, "verb": step.verb, "by": caller.party}})
        return api.SignClaimStepReply(
            claim=canonical_bytes(taken.claim), taken=not taken.missing, missing=taken.missing
        )

    def _claim_desk(self) -> ClaimDesk:
        if self._claims is None:
            raise PoolError(
                "this exchange keeps no pool, so it takes no claims",
                remedy="Its operator opens one (fedjoint pool open) and names it in exchange.yaml (pool).",
            )
        return self._claims

    def checkpoints(self, caller: Certificate, request: api.CheckpointsRequest) -> api.CheckpointsReply:
        """The checkpoints that wait for the caller's countersignature."""
        pending = self._desk.pending(caller.party, {seen.origin: seen.size for seen in request.seen})
        busy = any(run.state == "running" for run in self._store.runs.all())
        return api.CheckpointsReply(
            pending=[
                api.PendingCheckpoint(checkpoint=one.checkpoint, seen_size=one.seen_size, proof=one.proof)
                for one in pending
            ],
            again_ms=_SOON_MS if busy else _LATER_MS,
        )

    def witness(self, caller: Certificate, request: api.WitnessRequest) -> api.WitnessReply:
        """Add the caller's countersignature."""
        self._desk.take(caller.party, origin=request.origin, size=request.size, signature=request.signature)
        return api.WitnessReply()

    def propose(self, caller: Certificate, request: api.ProposeRequest) -> api.ProposeReply:
        """Write an agreement for the holders to review, without reading a file of this machine for it."""
        wanted = Wanted(
            dataset=request.dataset,
            holders=tuple(dict.fromkeys(request.holders)),
            reference=remote_reference(request.reference),
            licence=request.licence,
            citation=request.citation,
            registered=dict(request.registered),
        )
        agreement = self._office.propose(remote_config(request.overrides), wanted)
        _log.info("agreement proposed", extra={"facts": {"agreement": agreement.sha256, "by": caller.party}})
        return api.ProposeReply(sha256=agreement.sha256, unsigned_by=agreement.unsigned)

    def status(self, caller: Certificate, request: api.StatusRequest) -> api.StatusReply:
        """How the exchange stands."""
        return api.StatusReply(status=canonical_bytes(self._office.status()))


def _summary(run: RunEntry) -> api.RunSummary:
    return api.RunSummary(
        run_id=run.run_id,
        agreement=run.agreement,
        state=run.state,
        round=run.round,
        rounds=run.rounds,
        started_at=run.started_at or "",
        ended_at=run.ended_at or "",
        words=run.words,
        model_sha256=run.model_sha256 or "",
    )
