"""The server's optimisers against their closed forms, and in a run with holders that miss rounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import TrainingTerms
from fedjoint.errors import InvalidValue, TrainingError
from fedjoint.training.aggregate import state_bytes
from fedjoint.training.coordinator import Coordinator
from fedjoint.training.optimizer import num_moments, optimizer_step, start_state
from fedjoint.training.parts import PartedChannel
from fedjoint.training.workplace import Workplace
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, DirectChannel, gone, in_round, make_consortium

updates = st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3).map(np.array), min_size=1, max_size=6)


def agreed(name, **constants):
    return TrainingTerms(server_optimizer=name, **constants)


def run(training, steps, start=None):
    state = start_state(np.zeros(3, np.float32) if start is None else start, training)
    for step in steps:
        state = optimizer_step(state, step, training)
    return state


@given(updates)
def test_sgd_moves_by_the_sum_of_the_updates_and_remembers_nothing(steps):
    state = run(agreed("sgd", server_learning_rate=0.5), steps)
    assert state.moments == ()
    assert state.model == pytest.approx(0.5 * np.sum(steps, axis=0), abs=1e-4)


@given(updates)
def test_momentum_counts_an_update_again_in_every_later_round_geometrically_less(steps):
    state = run(agreed("momentum", server_momentum=0.8, server_learning_rate=2.0), steps)
    weights = [2.0 * (1 - 0.8 ** (len(steps) - place)) / (1 - 0.8) for place in range(len(steps))]
    expected = sum(weight * step for weight, step in zip(weights, steps, strict=True))
    assert state.model == pytest.approx(expected, rel=1e-5, abs=1e-4)


@given(updates)
def test_momentum_that_keeps_nothing_is_sgd(steps):
    without, plain = run(agreed("momentum", server_momentum=0.0), steps), run(agreed("sgd"), steps)
    assert without.model.tobytes() == plain.model.tobytes()


def test_adam_is_the_algorithm_of_its_source():
    training = agreed("adam", server_momentum=0.9, server_beta2=0.99, server_tau=0.1, server_learning_rate=0.3)
    steps = [np.array([1.0, -2.0, 0.0]), np.array([0.5, 1.0, 3.0]), np.array([-1.0, 0.0, 0.25])]
    mean, square, model = np.zeros(3), np.full(3, 0.1**2), np.zeros(3)
    for step in steps:
        mean = 0.9 * mean + (1 - 0.9) * step
        square = 0.99 * square + (1 - 0.99) * step**2
        model = model + 0.3 * mean / (np.sqrt(square) + 0.1)
    state = run(training, steps)
    assert state.model == pytest.approx(model, rel=1e-6)
    assert state.moments[0] == pytest.approx(mean)
    assert state.moments[1] == pytest.approx(square)


@given(st.floats(1e-3, 1e3))
def test_adam_takes_steps_of_the_same_size_whatever_the_scale_of_the_updates(scale):
    training = agreed("adam", server_tau=1e-9)
    steps = [np.array([1.0, -2.0, 3.0]), np.array([2.0, 1.0, 1.0])]
    scaled = run(training, [scale * step for step in steps])
    assert scaled.model == pytest.approx(run(training, steps).model, rel=1e-4)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_a_step_leaves_the_state_before_it_as_it_was(name):
    training = agreed(name)
    before = run(training, [np.ones(3)])
    said = before.model.tobytes(), [moment.tobytes() for moment in before.moments]
    optimizer_step(before, np.ones(3), training)
    assert (before.model.tobytes(), [moment.tobytes() for moment in before.moments]) == said
    assert len(before.moments) == num_moments(training)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("value", [np.inf, 1e200])
def test_a_model_that_would_no_longer_be_finite_is_refused(name, value):
    with pytest.raises(TrainingError, match="no longer finite"):
        run(agreed(name, server_learning_rate=1000.0), [np.full(3, value)] * 2)


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"server_momentum": 1.0}, "server_momentum"),
        ({"server_beta2": -0.1}, "server_beta2"),
        ({"server_tau": 0.0}, "server_tau"),
    ],
)
def test_constants_out_of_range_are_refused(constants, words):
    with pytest.raises(InvalidValue, match=words):
        agreed("adam", **constants)


def train(parties, **channel):
    """Every opened round, and the state of the coordinator after the last."""
    coordinator = Coordinator(
        parties.coordinator,
        parties.session,
        start=parties.start,
        channel=PartedChannel(DirectChannel(holders=parties.holders, **channel), parties.session, Workplace()),
        reference=parties.reference,
        log=lambda kind, body: None,
    )
    coordinator.prepare()
    return [summary.contributors for summary in coordinator.rounds()], coordinator._state


@pytest.mark.parametrize("name", ["momentum", "adam"])
@pytest.mark.parametrize("joint", [False, True])
def test_holders_that_missed_rounds_catch_up_with_what_the_optimiser_remembers(name, joint):
    private = {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION} if joint else {}
    parties = make_consortium(rounds=5, server_optimizer=name, server_learning_rate=0.1, **private)
    missed = {"bern": (2, 3)}
    contributors, state = train(
        parties, reachable=lambda kind, holder, body: not (kind == "train" and body.round in missed.get(holder, ()))
    )
    assert contributors == [("ahus", "bern", "cork"), *[("ahus", "cork")] * 2, *[("ahus", "bern", "cork")] * 2]
    for holder in parties.holders.values():
        assert state_bytes(holder._runs[parties.agreement.sha256]._state).tobytes() == state_bytes(state).tobytes()


def test_momentum_goes_further_than_sgd_along_the_same_valley():
    slow, fast = (
        train(make_consortium(rounds=6, learning_rate=0.2, server_optimizer=name))[1] for name in ("sgd", "momentum")
    )
    assert np.linalg.norm(fast.model) > 1.5 * np.linalg.norm(slow.model)


def test_a_run_whose_optimiser_remembers_ends_early_like_any_other():
    contributors, _ = train(
        make_consortium(rounds=4, server_optimizer="momentum"),
        reachable=gone("bern", "cork", when=in_round(3)),
    )
    assert len(contributors) == 2
