"""A run of a model that is large for its memory: real holders and coordinator, and what numpy allocates meanwhile."""

import tracemalloc

import numpy as np
import pytest

from fedjoint.agreement.terms import EncryptionTerms
from fedjoint.encryption import scratch
from fedjoint.encryption.fixed_point import Update
from fedjoint.training import holder_run
from fedjoint.training.workplace import Workplace
from tests.fakes import DirectChannel, make_consortium, train

HIDDEN = 700  # half a million parameters: frames of 4 MB, sums of 4 MB, models of 2 MB
SMALL = 1 << 18


class MadeUp:
    """In the place of a holder's training."""

    def __init__(self, *, terms, holder_id, **_):
        self._terms, self._weight = terms, terms.weight(holder_id)

    def source(self, model, round_number):
        rounding = np.random.default_rng(round_number)
        return Update(values=self.values, parameters=self.parameters, rounding=rounding, weight=self._weight, clip=True)


class Bowl:
    """In the place of a reference set: half the squared length of the model, whose gradient is the model."""

    def loss(self, model):
        return scratch.product(model, model) / 2

    def gradient(self, model):
        return model

    def contrast_gradients(self, model, groups, *, scratch=scratch.IN_MEMORY):
        return scratch.array("<f4", len(groups.contrasts) * model.size).reshape(-1, model.size)

    def metrics(self, model):
        return {}


@pytest.mark.parametrize(("scheme", "method"), [("seal", "none"), ("seeded", "aumann_shapley")])
def test_what_is_in_memory_does_not_grow_with_frames_sums_and_models(scheme, method, monkeypatch, tmp_path):
    monkeypatch.setattr(holder_run, "LocalTrainer", MadeUp)
    monkeypatch.setattr(scratch, "_PIECE", 1 << 14)
    workplace = Workplace(folder=tmp_path, small_bytes=SMALL)
    parties = make_consortium(
        workplace=workplace,
        rounds=2,
        hidden=(HIDDEN, HIDDEN),
        valuation={"method": method},
        encryption=EncryptionTerms(scheme=scheme, bound=8.0, value_bits=12),
    )
    for holder in parties.holders.values():
        holder._observer = None
    MadeUp.parameters = parties.session.parameters
    MadeUp.values = np.random.default_rng(0).normal(size=parties.terms.num_parameters).astype(np.float32)
    object.__setattr__(parties, "reference", Bowl())
    peaks = []

    class Watched(DirectChannel):
        """Begins to count once the key is shared: models and updates are there."""

        def exchange(self, kind, tasks):
            if kind == "train" and not peaks:
                tracemalloc.start()
                peaks.append(tracemalloc.get_traced_memory()[0])
            return super().exchange(kind, tasks)

    try:
        run = train(parties, Watched(holders=parties.holders), workplace=workplace)
        contributions = run.coordinator.value()
        peak = tracemalloc.get_traced_memory()[1] - peaks[0]
    finally:
        tracemalloc.stop()
    assert len(run.rounds) == 2
    # one frame alone has 4 MB (8 MB with both polynomials), and three of them and their sum are there at a time
    assert peak < 6.5e6
    assert list(tmp_path.iterdir()) == []
    if method != "none":
        gained = Bowl().loss(parties.start) - run.rounds[-1].loss
        assert sum(contributions.by_holder.values()) == pytest.approx(gained, rel=1e-3)
