"""A whole round of a large model over the real holder, coordinator and apps, each party in a process of its own.

The coordinator runs in the process that is asked; holders are forked from it before anything large is made. Updates are
made up, as training is the model's own business; all that follows is the code of every run: receipts, frames, parts,
sums, confirmations, openings, the model after them, and where contributions are measured the inner products with each
update. The coordinator keeps the run on the disk as an exchange does.
"""

import multiprocessing
import secrets
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from serving import BOUND, DEVIATION, _status_kb, answer

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
from fedjoint.data.records import Examples
from fedjoint.encryption.fixed_point import Update
from fedjoint.encryption.scratch import IN_MEMORY, Scratch, product
from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.server_app import make_server_app
from fedjoint.identity.keys import Identity
from fedjoint.models.vector import parameters_to_vector
from fedjoint.training import holder_run
from fedjoint.training.checkpoint import FolderStore
from fedjoint.training.coordinator import Coordinator
from fedjoint.training.holder import Holder
from fedjoint.training.local_update import agreed_module
from fedjoint.training.parts import PartedChannel
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace
from fedjoint.transport.app_node import context_of
from fedjoint.transport.holder_grid import run_server_app
from fedjoint.transport.inline import InlineGrid
from fedjoint.transport.link.codec import from_bytes, to_buffers

VALUE_BITS = {1: 10, 3: 12}
EXAMPLES = Examples(features=np.zeros((8, 3), dtype=np.float32), targets=np.zeros(8, dtype=np.float32))
ANYTHING = HolderPolicy(modes=("none", "local", "joint"), allow_exact_size=True)


class MadeUp:
    """In the place of a holder's training: the same update in every round."""

    values: Any = None

    def __init__(self, *, terms: Terms, holder_id: str, **_: Any) -> None:
        self._terms, self._holder = terms, holder_id

    def source(self, model: Any, round_number: int) -> Update:
        """The update, to be quantised as it is encrypted."""
        return Update(
            values=MadeUp.values,
            parameters=Session(agreement=_unsigned(self._terms), run_id="0" * 32).parameters,
            rounding=np.random.default_rng(round_number),
            weight=self._terms.weight(self._holder),
            clip=True,
        )


class Bowl:
    """In the place of a reference set: half the squared length of the model, whose gradient is the model."""

    def loss(self, model: Any) -> float:
        """Piece by piece."""
        return product(model, model) / 2

    def gradient(self, model: Any) -> Any:
        """The model itself."""
        return model

    def contrast_gradients(self, model: Any, groups: Any, *, scratch: Scratch = IN_MEMORY) -> Any:
        """Zeros: no record says anything else than another."""
        return scratch.array("<f4", len(groups.contrasts) * model.size).reshape(-1, model.size)

    def metrics(self, model: Any) -> dict[str, float | None]:
        """None."""
        return {}


def _unsigned(terms: Terms) -> SignedAgreement:
    return SignedAgreement(terms=terms, sha256=terms_sha256(terms))


def terms_of(
    coordinator: Identity,
    holders: list[Identity],
    *,
    scheme: str,
    values_per_word: int,
    valued: bool,
    hidden: tuple[int, ...],
    rounds: int,
) -> Terms:
    """An agreement on a model of these hidden layers."""
    return Terms(
        title="A large model",
        purpose="Measurement",
        coordinator=coordinator.public,
        holders=tuple(HolderTerms(identity=one.public, num_examples=len(EXAMPLES)) for one in holders),
        data=DataTerms(
            name="made up",
            schema=Schema(
                columns=tuple(Column(name=f"x{place}", kind="number") for place in range(3)),
                target=Target(name="y", task="binary", classes=("no", "yes")),
            ),
        ),
        model=ModelTerms(kind="mlp", hidden=hidden),
        training=TrainingTerms(rounds=rounds, learning_rate=0.1),
        privacy=PrivacyTerms(mode="none"),
        encryption=EncryptionTerms(
            scheme=scheme,  # type: ignore[arg-type]
            bound=BOUND,
            value_bits=VALUE_BITS[values_per_word],
            values_per_word=values_per_word,
        ),
        valuation=ValuationTerms(
            method="aumann_shapley" if valued else "none", reference_sha256="0" * 64, reference_num_examples=1
        ),
        money=MoneyTerms(),
    )


def reset_peak() -> float:
    """Begin to measure; gives what is resident now, in KB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_kb("VmRSS")


def be_holder(link: Connection, holder: Holder, size: int) -> None:
    """Serve tasks until an empty message; then say by how much memory and processor time grew since the key came."""
    holder_run.LocalTrainer = MadeUp  # type: ignore[misc, assignment]
    app = make_client_app(lambda context: holder)
    context, before, start = context_of(holder.id, run_id=1), 0.0, 0.0
    while data := link.recv_bytes():
        message = from_bytes(data)
        kind = message.metadata.message_type
        if kind == "query.join":
            drawn = np.random.default_rng(1).standard_normal(size, dtype=np.float32)
            MadeUp.values = np.multiply(drawn, np.float32(DEVIATION), out=drawn)
        link.send_bytes(b"".join(to_buffers(app(message, context))))
        if kind in ("query.make_key", "query.take_key"):
            before, start = reset_peak(), time.process_time()
    link.send({"mb": (_status_kb("VmHWM") - before) * 1024 / 1e6, "cpu_s": time.process_time() - start})


def round_of(
    scheme: str, values_per_word: int, valued: bool, hidden: list[int], holders: int, folder: str, rounds: int = 2
) -> Any:
    """A run of two rounds; by how much the coordinator and the holder that grew most grew at their highest."""
    coordinator = Identity.create("exchange", "Exchange")
    identities = [Identity.create(f"holder-{n}", f"Holder {n}") for n in range(holders)]
    terms = terms_of(
        coordinator,
        identities,
        scheme=scheme,
        values_per_word=values_per_word,
        valued=valued,
        hidden=tuple(hidden),
        rounds=rounds,
    )
    workplace, signatures, links, processes = Workplace(folder=Path(folder)), {}, {}, []
    for identity in identities:
        holder = Holder(identity, EXAMPLES, ANYTHING)
        holder.work_at(workplace)
        signatures[identity.id] = holder.sign(terms)
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=be_holder, args=(there, holder, terms.num_coordinates), daemon=True
        )
        process.start()
        processes.append(process)
        links[identity.id] = here
    signatures[coordinator.id] = sign_terms(terms, coordinator)
    session = Session(agreement=_unsigned(terms).with_signatures(signatures), run_id=secrets.token_hex(16))

    def forward(message: Any, context: Any) -> Any:
        link = links[str(context.node_config["holder"])]
        link.send_bytes(b"".join(to_buffers(message)))
        return from_bytes(link.recv_bytes())

    facts: dict[str, float] = {}

    def coordinate(channel: Any) -> None:
        start = parameters_to_vector(agreed_module(terms))
        conductor = Coordinator(
            coordinator,
            session,
            start=start,
            channel=PartedChannel(channel, session, workplace),
            reference=Bowl(),
            log=lambda kind, body: None,
            store=FolderStore(Path(folder, "kept"), of={"run": session.run_id}),
        )
        conductor.prepare()
        before, cpu, began = reset_peak(), time.process_time(), time.perf_counter()
        losses = [Bowl().loss(start)]
        for summary in conductor.rounds():
            facts["rounds"] = summary.round
            losses.append(summary.loss)
        contributions = conductor.value()
        if valued:
            gained = losses[0] - losses[-1]
            facts["gap"] = abs(sum(contributions.by_holder.values()) / gained - 1)
        facts["coordinator_mb"] = (_status_kb("VmHWM") - before) * 1024 / 1e6
        facts["coordinator_cpu_s"], facts["elapsed_s"] = time.process_time() - cpu, time.perf_counter() - began
        conductor.finish()

    grid = InlineGrid(forward, links)  # type: ignore[arg-type]
    try:
        run_server_app(make_server_app(coordinate, lambda _: grid.nodes, timeout_s=3600), grid)
        said = []
        for link in links.values():
            link.send_bytes(b"")
            said.append(link.recv())
    finally:
        for process in processes:
            process.kill()
    assert facts["rounds"] == rounds, "a round was not trained"
    most = max(said, key=lambda one: float(one["mb"]))
    return {**facts, "parameters": terms.num_parameters, "holder_mb": most["mb"], "holder_cpu_s": most["cpu_s"]}


if __name__ == "__main__":
    answer({"round": round_of})
