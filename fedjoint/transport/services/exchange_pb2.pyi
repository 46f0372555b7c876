from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Party(_message.Message):
    __slots__ = ("id", "name", "signing_key", "sealing_key")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    SEALING_KEY_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    signing_key: str
    sealing_key: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., signing_key: _Optional[str] = ..., sealing_key: _Optional[str] = ...) -> None: ...

class HelloRequest(_message.Message):
    __slots__ = ("oldest_version", "newest_version", "software")
    OLDEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    NEWEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    oldest_version: int
    newest_version: int
    software: str
    def __init__(self, oldest_version: _Optional[int] = ..., newest_version: _Optional[int] = ..., software: _Optional[str] = ...) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("version", "software")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    version: int
    software: str
    def __init__(self, version: _Optional[int] = ..., software: _Optional[str] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("token", "party", "request", "signature")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    token: str
    party: Party
    request: bytes
    signature: str
    def __init__(self, token: _Optional[str] = ..., party: _Optional[_Union[Party, _Mapping]] = ..., request: _Optional[bytes] = ..., signature: _Optional[str] = ...) -> None: ...

class EnrolReply(_message.Message):
    __slots__ = ("certificate", "exchange")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    exchange: Party
    def __init__(self, certificate: _Optional[bytes] = ..., exchange: _Optional[_Union[Party, _Mapping]] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    def __init__(self, request: _Optional[bytes] = ...) -> None: ...

class RenewReply(_message.Message):
    __slots__ = ("certificate",)
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    def __init__(self, certificate: _Optional[bytes] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class LeaveReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegisterDatasetRequest(_message.Message):
    __slots__ = ("name", "schema", "num_examples", "unit", "quality", "num_patients")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    NUM_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    NUM_PATIENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    schema: bytes
    num_examples: int
    unit: str
    quality: Quality
    num_patients: int
    def __init__(self, name: _Optional[str] = ..., schema: _Optional[bytes] = ..., num_examples: _Optional[int] = ..., unit: _Optional[str] = ..., quality: _Optional[_Union[Quality, _Mapping]] = ..., num_patients: _Optional[int] = ...) -> None: ...

class Quality(_message.Message):
    __slots__ = ("fits", "columns", "present")
    FITS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    fits: bool
    columns: int
    present: int
    def __init__(self, fits: _Optional[bool] = ..., columns: _Optional[int] = ..., present: _Optional[int] = ...) -> None: ...

class RegisterDatasetReply(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    def __init__(self, dataset: _Optional[str] = ...) -> None: ...

class AgreementsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AgreementsReply(_message.Message):
    __slots__ = ("agreements",)
    AGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    agreements: _containers.RepeatedCompositeFieldContainer[AgreementSummary]
    def __init__(self, agreements: _Optional[_Iterable[_Union[AgreementSummary, _Mapping]]] = ...) -> None: ...

class AgreementSummary(_message.Message):
    __slots__ = ("sha256", "purpose", "state", "unsigned_by", "proposed_at")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    UNSIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_AT_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    purpose: str
    state: str
    unsigned_by: _containers.RepeatedScalarFieldContainer[str]
    proposed_at: str
    def __init__(self, sha256: _Optional[str] = ..., purpose: _Optional[str] = ..., state: _Optional[str] = ..., unsigned_by: _Optional[_Iterable[str]] = ..., proposed_at: _Optional[str] = ...) -> None: ...

class GetAgreementRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    def __init__(self, sha256: _Optional[str] = ...) -> None: ...

class GetAgreementReply(_message.Message):
    __slots__ = ("agreement",)
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    agreement: bytes
    def __init__(self, agreement: _Optional[bytes] = ...) -> None: ...

class SignRequest(_message.Message):
    __slots__ = ("sha256", "signature")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    signature: str
    def __init__(self, sha256: _Optional[str] = ..., signature: _Optional[str] = ...) -> None: ...

class SignReply(_message.Message):
    __slots__ = ("unsigned_by",)
    UNSIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    unsigned_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, unsigned_by: _Optional[_Iterable[str]] = ...) -> None: ...

class DeclineRequest(_message.Message):
    __slots__ = ("sha256", "reason")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    reason: str
    def __init__(self, sha256: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeclineReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RunStatusRequest(_message.Message):
    __slots__ = ("agreement",)
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    agreement: str
    def __init__(self, agreement: _Optional[str] = ...) -> None: ...

class RunStatusReply(_message.Message):
    __slots__ = ("runs",)
    RUNS_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[RunSummary]
    def __init__(self, runs: _Optional[_Iterable[_Union[RunSummary, _Mapping]]] = ...) -> None: ...

class RunSummary(_message.Message):
    __slots__ = ("run_id", "agreement", "state", "round", "rounds", "started_at", "ended_at", "words", "model_sha256")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    agreement: str
    state: str
    round: int
    rounds: int
    started_at: str
    ended_at: str
    words: str
    model_sha256: str
    def __init__(self, run_id: _Optional[str] = ..., agreement: _Optional[str] = ..., state: _Optional[str] = ..., round: _Optional[int] = ..., rounds: _Optional[int] = ..., started_at: _Optional[str] = ..., ended_at: _Optional[str] = ..., words: _Optional[str] = ..., model_sha256: _Optional[str] = ...) -> None: ...

class StatementsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatementsReply(_message.Message):
    __slots__ = ("statements",)
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    statements: _containers.RepeatedCompositeFieldContainer[StatementSummary]
    def __init__(self, statements: _Optional[_Iterable[_Union[StatementSummary, _Mapping]]] = ...) -> None: ...

class StatementSummary(_message.Message):
    __slots__ = ("id", "run_id", "agreement", "at")
    ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    run_id: str
    agreement: str
    at: str
    def __init__(self, id: _Optional[str] = ..., run_id: _Optional[str] = ..., agreement: _Optional[str] = ..., at: _Optional[str] = ...) -> None: ...

class GetStatementRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetStatementReply(_message.Message):
    __slots__ = ("statement",)
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    def __init__(self, statement: _Optional[bytes] = ...) -> None: ...

class ClaimsRequest(_message.Message):
    __slots__ = ("claim",)
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    claim: str
    def __init__(self, claim: _Optional[str] = ...) -> None: ...

class ClaimsReply(_message.Message):
    __slots__ = ("claims",)
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    claims: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, claims: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SignClaimStepRequest(_message.Message):
    __slots__ = ("step", "signature")
    STEP_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    step: bytes
    signature: str
    def __init__(self, step: _Optional[bytes] = ..., signature: _Optional[str] = ...) -> None: ...

class SignClaimStepReply(_message.Message):
    __slots__ = ("claim", "taken", "missing")
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    claim: bytes
    taken: bool
    missing: int
    def __init__(self, claim: _Optional[bytes] = ..., taken: _Optional[bool] = ..., missing: _Optional[int] = ...) -> None: ...

class Seen(_message.Message):
    __slots__ = ("origin", "size")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    origin: str
    size: int
    def __init__(self, origin: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class CheckpointsRequest(_message.Message):
    __slots__ = ("seen",)
    SEEN_FIELD_NUMBER: _ClassVar[int]
    seen: _containers.RepeatedCompositeFieldContainer[Seen]
    def __init__(self, seen: _Optional[_Iterable[_Union[Seen, _Mapping]]] = ...) -> None: ...

class CheckpointsReply(_message.Message):
    __slots__ = ("pending", "again_ms")
    PENDING_FIELD_NUMBER: _ClassVar[int]
    AGAIN_MS_FIELD_NUMBER: _ClassVar[int]
    pending: _containers.RepeatedCompositeFieldContainer[PendingCheckpoint]
    again_ms: int
    def __init__(self, pending: _Optional[_Iterable[_Union[PendingCheckpoint, _Mapping]]] = ..., again_ms: _Optional[int] = ...) -> None: ...

class PendingCheckpoint(_message.Message):
    __slots__ = ("checkpoint", "seen_size", "proof")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SEEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    checkpoint: bytes
    seen_size: int
    proof: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, checkpoint: _Optional[bytes] = ..., seen_size: _Optional[int] = ..., proof: _Optional[_Iterable[str]] = ...) -> None: ...

class WitnessRequest(_message.Message):
    __slots__ = ("origin", "size", "signature")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    origin: str
    size: int
    signature: str
    def __init__(self, origin: _Optional[str] = ..., size: _Optional[int] = ..., signature: _Optional[str] = ...) -> None: ...

class WitnessReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ProposeRequest(_message.Message):
    __slots__ = ("overrides", "dataset", "holders", "reference", "licence", "citation", "registered")
    class RegisteredEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    CITATION_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_FIELD_NUMBER: _ClassVar[int]
    overrides: _containers.RepeatedScalarFieldContainer[str]
    dataset: str
    holders: _containers.RepeatedScalarFieldContainer[str]
    reference: bytes
    licence: str
    citation: str
    registered: _containers.ScalarMap[str, str]
    def __init__(self, overrides: _Optional[_Iterable[str]] = ..., dataset: _Optional[str] = ..., holders: _Optional[_Iterable[str]] = ..., reference: _Optional[bytes] = ..., licence: _Optional[str] = ..., citation: _Optional[str] = ..., registered: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ProposeReply(_message.Message):
    __slots__ = ("sha256", "unsigned_by")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    UNSIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    unsigned_by: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sha256: _Optional[str] = ..., unsigned_by: _Optional[_Iterable[str]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: bytes
    def __init__(self, status: _Optional[bytes] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "problem", "expected", "remedy")
    CODE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    code: str
    problem: str
    expected: str
    remedy: str
    def __init__(self, code: _Optional[str] = ..., problem: _Optional[str] = ..., expected: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...
