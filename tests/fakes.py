"""A small consortium for tests: known data, real keys and signatures, and a channel that loses or alters messages."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.review import HolderPolicy
from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.agreement.terms import (
    DataTerms,
    EncryptionTerms,
    HolderTerms,
    ModelTerms,
    MoneyTerms,
    PrivacyTerms,
    Terms,
    TrainingTerms,
    ValuationTerms,
)
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.data.records import Examples
from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import add
from fedjoint.encryption.frames import pack_frame, parse_frame
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.opened import ToOpen
from fedjoint.encryption.parameters import Parameters
from fedjoint.errors import FedjointError
from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.server_app import GridChannel, make_server_app
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import parameters_to_vector
from fedjoint.simulation.exact import UpdateLog
from fedjoint.training.checkpoint import MemoryStore
from fedjoint.training.confirming import CONFIRM
from fedjoint.training.contributions import Contributions
from fedjoint.training.coordinator import Coordinator, RoundSummary
from fedjoint.training.holder import Holder
from fedjoint.training.holder_state import RunStore
from fedjoint.training.local_update import agreed_module, agreed_task
from fedjoint.training.parts import PartedChannel
from fedjoint.training.plan import Channel, Kind, Parcel, Refusal, Task
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace
from fedjoint.transport.app_node import HOLDER_KEY
from fedjoint.transport.holder_grid import run_server_app
from fedjoint.transport.inline import InlineGrid

WIDTH = 3
#: Of the linear model: three weights and a bias.
NUM_PARAMETERS = WIDTH + 1
SIZES = {"ahus": 40, "bern": 30, "cork": 20}
ANYTHING = HolderPolicy(
    allow_audit_blocks=True,
    maximum_error_numbers=16,
    maximum_epsilon=1e6,
    maximum_epsilon_if_opened=1e6,
    minimum_colluders=0,
    maximum_delta=1.0,
    modes=("local", "joint", "none"),
    allow_insecure_noise=True,
    allow_exact_size=True,
)
NO_PRIVACY = PrivacyTerms(mode="none")
#: One round costs 1.352 of epsilon, two cost 2.053, three 2.629.
LOCAL_PRIVACY = PrivacyTerms(mode="local", epsilon=50.0, delta=1e-3, clip_norm=1.0, noise_multiplier=2.0)
#: Sized for two of three holders less one colluder, so that one share is what the sum is charged at.
JOINT_PRIVACY = PrivacyTerms(
    mode="joint",
    epsilon=50.0,
    delta=1e-3,
    clip_norm=1.0,
    noise_multiplier=2.0,
    colluders=1,
    epsilon_if_opened=50.0,
    contributions_noise_multiplier=9.0,
)
JOINT_ENCRYPTION = EncryptionTerms(scheme="seeded", bound=400.0, value_bits=20)

Events = list[tuple[str, Mapping[str, Any]]]
Reachable = Callable[[Kind, str, Any], bool]
Meddle = Callable[[Kind, str, Parcel], Parcel | Refusal]


def schema() -> Schema:
    columns = tuple(Column(name=f"x{place}", kind="number") for place in range(WIDTH))
    return Schema(columns=columns, target=Target(name="ill", task="binary", classes=("no", "yes")))


def examples(count: int, *, seed: int, flipped: float = 0.0) -> Examples:
    """Records of one logistic truth; ``flipped`` is the fraction of labels that are wrong."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, WIDTH)).astype(np.float32)
    labels = features @ np.array([1.5, -1.0, 0.5]) + rng.logistic(size=count) * 0.5 > 0
    labels ^= rng.random(count) < flipped
    return Examples(features=features, targets=labels.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Consortium:
    """Everybody, side by side, as only a test sees them."""

    coordinator: Identity
    identities: Mapping[str, Identity]
    records: Mapping[str, Examples]
    holders: Mapping[str, Holder]
    terms: Terms
    session: Session
    reference: ReferenceSet
    updates: UpdateLog

    @property
    def agreement(self) -> SignedAgreement:
        return self.session.agreement

    @property
    def start(self) -> np.ndarray:
        return parameters_to_vector(agreed_module(self.terms))

    def secret_key(self, holder: str) -> SecretKey:
        """The key as one holder has it: nobody else may ask."""
        key = self.holders[holder]._runs[self.agreement.sha256]._key.secret
        assert key is not None
        return key

    def task(self) -> Task:
        return Task(**self.session.address)

    def next_run(self) -> Session:
        """Another run under the same agreement."""
        return Session(agreement=self.agreement, run_id=secrets.token_hex(16))


def make_terms(
    coordinator: Identity,
    identities: Mapping[str, Identity],
    sizes: Mapping[str, int],
    reference: Examples,
    *,
    privacy: PrivacyTerms = NO_PRIVACY,
    encryption: EncryptionTerms | None = None,
    hidden: tuple[int, ...] = (),
    valuation: Mapping[str, Any] | None = None,
    releases: ReleaseTerms | None = None,
    **training: Any,
) -> Terms:
    committed: Any = {"reference_sha256": reference.sha256(), "reference_num_examples": len(reference)}
    if (valuation or {}).get("reference") == "holders":
        committed = {}
    return Terms(
        title="A study",
        purpose="Tests",
        coordinator=coordinator.public,
        holders=tuple(
            HolderTerms(identity=identity.public, num_examples=sizes[holder]) for holder, identity in identities.items()
        ),
        data=DataTerms(name="made up", schema=schema()),
        model=ModelTerms(kind="mlp" if hidden else "linear", hidden=hidden),
        training=TrainingTerms(**({"rounds": 3, "learning_rate": 1.0} | training)),
        privacy=privacy,
        encryption=encryption or EncryptionTerms(scheme="seeded", bound=8.0, value_bits=20),
        valuation=ValuationTerms(**committed | (valuation or {})),
        money=MoneyTerms(),
        releases=releases or ReleaseTerms(),
    )


def sign_by_all(terms: Terms, coordinator: Identity, holders: Mapping[str, Holder]) -> SignedAgreement:
    signatures = {holder.id: holder.sign(terms) for holder in holders.values()}
    signatures[coordinator.id] = sign_terms(terms, coordinator)
    return SignedAgreement(terms=terms, sha256=terms_sha256(terms)).with_signatures(signatures)


def make_consortium(
    sizes: Mapping[str, int] = SIZES,
    *,
    flipped: Mapping[str, float] | None = None,
    workplace: Workplace | None = None,
    **agreed: Any,
) -> Consortium:
    """Make parties with fresh keys that have all signed; ``agreed`` goes to :func:`make_terms`."""
    coordinator = Identity.create("exchange", "Exchange")
    identities = {holder: Identity.create(holder, holder.title()) for holder in sizes}
    records = {
        holder: examples(count, seed=number, flipped=(flipped or {}).get(holder, 0.0))
        for number, (holder, count) in enumerate(sizes.items(), start=1)
    }
    held_out, updates = examples(60, seed=99), UpdateLog()
    terms = make_terms(coordinator, identities, sizes, held_out, **agreed)
    holders = {
        holder: Holder(identity, records[holder], ANYTHING, observer=updates) for holder, identity in identities.items()
    }
    if workplace is not None:
        for holder in holders.values():
            holder.work_at(workplace)
    agreement = sign_by_all(terms, coordinator, holders)
    reference = ReferenceSet(
        examples=held_out,
        module=agreed_module(terms),
        task=agreed_task(terms),
    )
    return Consortium(
        coordinator=coordinator,
        identities=identities,
        records=records,
        holders=holders,
        terms=terms,
        session=Session(agreement=agreement, run_id=secrets.token_hex(16)),
        reference=reference,
        updates=updates,
    )


@dataclass(kw_only=True)
class DirectChannel:
    """Calls holders directly; a test says which tasks get lost and how replies are altered on their way.

    Args:
        holders: By id.
        reachable: Whether a task of that kind arrives at that holder.
        meddle: What becomes of a reply: another parcel, or a refusal for one that was lost.
    """

    holders: Mapping[str, Holder]
    reachable: Reachable = lambda kind, holder, body: True
    meddle: Meddle = lambda kind, holder, reply: reply
    asked: list[tuple[Kind, str]] = field(default_factory=list)

    def exchange(self, kind: Kind, tasks: Mapping[str, Parcel]) -> Iterator[tuple[str, Parcel | Refusal]]:
        for holder, task in tasks.items():
            self.asked.append((kind, holder))
            yield holder, self._answer(kind, holder, task)

    def _answer(self, kind: Kind, holder: str, task: Parcel) -> Parcel | Refusal:
        if not self.reachable(kind, holder, task.body):
            return lost(holder)
        try:
            return self.meddle(kind, holder, self.holders[holder].answer(kind, task))
        except FedjointError as refusal:
            return Refusal(code=refusal.code, message=str(refusal))


def lost(holder: str) -> Refusal:
    return Refusal(code="holder.silent", message=f"no word from {holder}")


def gone(*holders: str, when: Callable[[Kind, Any], bool]) -> Reachable:
    """Holders that no task reaches when it is of a certain kind or body."""
    return lambda kind, holder, body: not (holder in holders and when(kind, body))


def in_round(number: int) -> Callable[[Kind, Any], bool]:
    return lambda kind, body: kind == "train" and body.round == number


@dataclass(kw_only=True)
class Run:
    """What a test needs of a run that is over."""

    coordinator: Coordinator
    models: list[np.ndarray]
    rounds: list[RoundSummary]
    events: Events
    contributions: Contributions | None = None

    @property
    def contributors(self) -> list[tuple[str, ...]]:
        return [summary.contributors for summary in self.rounds]

    def facts(self, kind: str) -> list[Mapping[str, Any]]:
        return [body for name, body in self.events if name == kind]


def begin(consortium: Consortium, channel: Channel, *, workplace: Workplace | None = None) -> Run:
    """A coordinator that has done nothing yet."""
    events: Events = []
    coordinator = Coordinator(
        consortium.coordinator,
        consortium.session,
        start=consortium.start,
        channel=PartedChannel(channel, consortium.session, workplace or Workplace()),
        reference=consortium.reference,
        log=lambda kind, body: events.append((kind, body)),
    )
    return Run(coordinator=coordinator, models=[consortium.start], rounds=[], events=events)


def train(consortium: Consortium, channel: Channel, **begun: Any) -> Run:
    """Prepare and train to the end."""
    run = begin(consortium, channel, **begun)
    run.coordinator.prepare()
    for summary in run.coordinator.rounds():
        run.models.append(run.coordinator.model)
        run.rounds.append(summary)
    return run


def open_contributions(consortium: Consortium, run: Run, channel: Channel) -> Contributions:
    run.coordinator._channel = PartedChannel(channel, consortium.session, Workplace())
    run.contributions = run.coordinator.value()
    return run.contributions


def complete(consortium: Consortium, *, workplace: Workplace | None = None, **channel: Any) -> Run:
    """A whole run over a :class:`DirectChannel`, contributions included."""
    carrier = DirectChannel(holders=consortium.holders, **channel)
    run = train(consortium, carrier, workplace=workplace)
    open_contributions(consortium, run, carrier)
    return run


def complete_over_grid(
    consortium: Consortium,
    *,
    wrap: Callable[[Holder], Any] = lambda holder: holder,
    workplace: Workplace | None = None,
    **grid: Any,
) -> tuple[Run, GridChannel]:
    """A whole run through the real apps; ``wrap`` may put something in a holder's place, ``grid`` goes to the Grid."""
    served = {name: wrap(holder) for name, holder in consortium.holders.items()}
    carrier = InlineGrid(make_client_app(lambda context: served[str(context.node_config[HOLDER_KEY])]), served, **grid)
    done: list[tuple[Run, GridChannel]] = []

    def coordinate(channel: Channel) -> None:
        assert isinstance(channel, GridChannel)
        run = train(consortium, channel, workplace=workplace)
        open_contributions(consortium, run, channel)
        done.append((run, channel))

    run_server_app(make_server_app(coordinate, lambda found: found.nodes, timeout_s=60), carrier)
    return done[0]


def changed(parcel: Parcel, blobs: Mapping[str, bytes] | None = None, **body: Any) -> Parcel:
    """A parcel with other blobs or other fields of its body."""
    return Parcel(body=replace(parcel.body, **body), blobs=parcel.blobs if blobs is None else blobs)


def confirmations(consortium: Consortium, subject: ToOpen, holders: Iterable[str] | None = None) -> dict[str, str]:
    """What holders sign of what is to be opened; all of them, unless a test says who."""
    who = consortium.identities if holders is None else holders
    return {holder: consortium.session.sign(consortium.identities[holder], CONFIRM, subject) for holder in who}


def sum_frame(
    consortium: Consortium, replies: Mapping[str, Parcel], *, key_id: str, round_number: int, says: Mapping[str, Any]
) -> bytes:
    """What a coordinator makes of the updates in holders' replies; ``says`` changes what the frame says it is."""
    session = consortium.session
    updates = [
        parse_frame(
            reply.blobs["frame"],
            expected=session.frame("update", round_number, key_id),
            sender=consortium.identities[holder].public,
            parameters=session.parameters,
        )
        for holder, reply in replies.items()
    ]
    said = replace(session.frame("sum", round_number, key_id), **says)
    return pack_frame(add(updates), header=said, sender=consortium.coordinator)


def flip_bit(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def fedavg_by_hand(consortium: Consortium, rounds: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Models of plain federated averaging, from the updates that the observer heard."""
    terms, model = consortium.terms, consortium.start.astype(np.float64)
    models = [model]
    sizes = {holder: len(records) for holder, records in consortium.records.items()}
    for number, contributors in enumerate(rounds, start=1):
        heard = consortium.updates.of_round(number, contributors)  # each is weighted by its share of all records
        present = sum(sizes[holder] for holder in contributors) / sum(sizes.values())
        model = model + terms.training.server_learning_rate * heard.sum(axis=0) / present
        models.append(model)
    return models


class MemoryKey:
    """A key store that outlives the objects that use it: the packed key, and the rounds begun under it."""

    def __init__(self) -> None:
        self.packed: bytes | None = None
        self.rounds: list[int] = []

    def keep(self, key: SecretKey) -> None:
        assert self.packed is None
        self.packed = key.pack()
        key.keep_rounds(self)

    def load(self, parameters: Parameters, binding: Binding) -> SecretKey | None:
        if self.packed is None:
            return None
        key = SecretKey.unpack(self.packed, parameters, binding)
        key.keep_rounds(self, last_round=max(self.rounds, default=-1))
        return key

    def erase(self) -> None:
        self.packed = None

    def write(self, round_number: int) -> None:
        self.rounds.append(round_number)

    def close(self) -> None:
        pass


class MemoryHolder:
    """A holder's store in memory, for holders that are killed and come back in one process."""

    def __init__(self, store: Callable[[], Any] = MemoryStore) -> None:
        self._store, self.checkpoints = store, store()
        self.signed: set[str] = set()
        self.runs: dict[Binding, RunStore] = {}

    def mark_signed(self, agreement_sha256: str) -> None:
        self.signed.add(agreement_sha256)

    def has_signed(self, agreement_sha256: str) -> bool:
        return agreement_sha256 in self.signed

    def open(self) -> Any:
        return self.checkpoints

    def run(self, binding: Binding) -> RunStore:
        return self.runs.setdefault(binding, RunStore(checkpoints=self._store(), key=MemoryKey()))
