"""A run's model is computed again from its sums, whatever the optimiser, and a changed sum or start is found."""

from types import SimpleNamespace

import numpy as np
import pytest

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.errors import RecordError
from fedjoint.runs.replay import keeps_sums, replay_sums, sums_to_bytes
from fedjoint.training.aggregate import apply_sum, model_bytes, sum_bytes
from fedjoint.training.optimizer import start_state
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, make_consortium

CONTRIBUTORS = (("ahus", "bern", "cork"), ("ahus", "cork"), ("ahus", "bern", "cork"))


def recorded(terms):
    """A run of three rounds as its record tells it, the start, the sums and the last state."""
    start = np.linspace(-1, 1, terms.num_parameters).astype(np.float32)
    rng, state, sums, rounds = np.random.default_rng(1), start_state(start, terms.training), [], []
    for number, holders in enumerate(CONTRIBUTORS, start=1):
        offset = 2 ** (terms.encryption.value_bits - 1) - 1
        spread = rng.integers(-1000, 1000, size=terms.num_coordinates)
        sums.append((offset * len(holders) + spread).astype(np.uint64))
        state = apply_sum(state, sums[-1], holders, terms)
        reply = SimpleNamespace(sum_sha256=sha256_hex(sum_bytes(sums[-1])))
        model = sha256_hex(model_bytes(state.model))
        rounds.append(SimpleNamespace(round=number, opened={"ahus": reply, "bern": reply}, model_sha256=model))
    summed = {n: SimpleNamespace(receipts=dict.fromkeys(holders)) for n, holders in enumerate(CONTRIBUTORS, start=1)}
    return SimpleNamespace(rounds=tuple(rounds), summed=summed), start, sums, state


@pytest.fixture(params=["sgd", "momentum", "adam"])
def terms(request):
    return make_consortium(server_optimizer=request.param, privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION).terms


def test_the_model_is_computed_again_to_the_bit(terms, tmp_path):
    run, start, sums, state = recorded(terms)
    (tmp_path / "sums.bin").write_bytes(sums_to_bytes(start, sums))
    again = list(replay_sums(tmp_path / "sums.bin", run, terms))[-1]
    assert again.model.tobytes() == state.model.tobytes()
    assert [moment.tobytes() for moment in again.moments] == [moment.tobytes() for moment in state.moments]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data[:-8], "bytes; expected"),
        (lambda data: data[:-8] + bytes(8), "another sum of round 3"),
        (lambda data: bytes([data[0] ^ 64, *data[1:]]), "the model after round 1 is not what the sum gives"),
        (lambda data: np.array(np.nan, "<f4").tobytes() + data[4:], "not finite"),
    ],
)
def test_another_sum_or_start_is_found(terms, tmp_path, spoil, words):
    run, start, sums, _ = recorded(terms)
    (tmp_path / "sums.bin").write_bytes(spoil(sums_to_bytes(start, sums)))
    with pytest.raises(RecordError, match=words):
        list(replay_sums(tmp_path / "sums.bin", run, terms))


def test_a_model_that_a_sum_makes_infinite_is_refused(tmp_path):
    terms = make_consortium(server_learning_rate=1000.0, learning_rate=1000.0).terms
    run, _, sums, _ = recorded(terms)
    huge = np.full(terms.num_parameters, 3.4e38, np.float32)
    (tmp_path / "sums.bin").write_bytes(sums_to_bytes(huge, sums))
    with pytest.raises(RecordError, match=r"no longer finite|is not what the sum gives"):
        list(replay_sums(tmp_path / "sums.bin", run, terms))


def test_only_what_fits_is_kept():
    assert keeps_sums(make_consortium().terms)
    assert not keeps_sums(make_consortium(hidden=(4096,), rounds=10_000).terms)
