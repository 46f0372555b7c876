"""The axioms of contributions to a server that remembers, over games with a closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.terms import TrainingTerms
from fedjoint.training.optimizer import linear_step, optimizer_step, start_state
from fedjoint.valuation.aumann_shapley import path_gradient
from fedjoint.valuation.steps import CarriedWeights, LinearStep

SIZE = 2
small = st.integers(-4, 4).map(lambda number: number / 4)
vectors = st.lists(small, min_size=SIZE, max_size=SIZE).map(np.array)
#: Each round: holder to its part in the mean update. Some are missing.
rounds = st.lists(st.dictionaries(st.sampled_from("abcd"), vectors, min_size=1), min_size=1, max_size=5)
optimizers = st.sampled_from(
    [
        TrainingTerms(),
        TrainingTerms(server_optimizer="momentum", server_momentum=0.8, server_learning_rate=0.5),
        TrainingTerms(server_optimizer="adam", server_momentum=0.6, server_learning_rate=0.1, server_tau=0.1),
    ]
)


class Utility:
    """A quartic loss of the model, so that three points of quadrature are exact."""

    def __init__(self, slope, curvature):
        self.slope, self.curvature = slope, curvature

    def loss(self, w):
        return float(self.slope @ w + self.curvature @ w**2 + (w**4).sum() / 8)

    def gradient(self, w):
        return self.slope + 2 * self.curvature * w + w**3 / 2


utilities = st.builds(Utility, vectors, vectors)


def contributions(gradient, updates, training):
    """Valued as the coordinator does it, with plaintexts in the ciphertexts' place."""
    state, carried = start_state(np.full(SIZE, 0.5, np.float32), training), CarriedWeights()
    states, found, final = [state], {}, []
    for sent in updates:
        state = optimizer_step(states[-1], sum(sent.values()), training)
        g = path_gradient(gradient, states[-1].model.astype(float), state.model.astype(float), points=3)
        final += carried.add_round(sent, g, linear_step(state, training))
        states.append(state)
    for sent, weights in [*final, *carried.rest()]:
        for holder, update in sent.items():
            found[holder] = found.get(holder, 0.0) + float(weights @ update)
    return found, states


@given(utilities, rounds, optimizers)
def test_contributions_sum_to_the_utility_gained_with_holders_missing(utility, updates, training):
    found, states = contributions(utility.gradient, updates, training)
    gained = utility.loss(states[0].model.astype(float)) - utility.loss(states[-1].model.astype(float))
    assert sum(found.values()) == pytest.approx(gained, abs=2e-5)  # models are float32


@given(utilities, rounds, optimizers)
def test_a_holder_that_sends_nothing_contributes_nothing_and_changes_nobody(utility, updates, training):
    with_null = [{**sent, "null": np.zeros(SIZE)} for sent in updates]
    found, _ = contributions(utility.gradient, with_null, training)
    assert found.pop("null") == 0.0
    assert found == contributions(utility.gradient, updates, training)[0]


@given(utilities, rounds, vectors, optimizers)
def test_holders_that_send_the_same_contribute_the_same(utility, updates, twin, training):
    twins = [{"x": twin, **sent, "y": twin} for sent in updates]
    found, _ = contributions(utility.gradient, twins, training)
    assert found["x"] == found["y"]


@given(utilities, utilities, small, rounds, optimizers)
def test_contributions_are_linear_in_the_utility(one, other, scale, updates, training):
    both, _ = contributions(lambda w: one.gradient(w) + scale * other.gradient(w), updates, training)
    first, second = (contributions(utility.gradient, updates, training)[0] for utility in (one, other))
    assert both == pytest.approx({holder: first[holder] + scale * second[holder] for holder in first}, abs=1e-9)


@given(utilities, rounds, optimizers)
def test_two_holders_who_merge_get_what_they_had_together(utility, updates, training):
    merged = [
        {**{h: u for h, u in sent.items() if h not in "ab"}, "m": sent.get("a", 0) + sent.get("b", np.zeros(SIZE))}
        for sent in updates
    ]
    apart, _ = contributions(utility.gradient, updates, training)
    together, _ = contributions(utility.gradient, merged, training)
    assert together["m"] == pytest.approx(apart.get("a", 0.0) + apart.get("b", 0.0), abs=1e-5)


def test_a_holder_that_left_keeps_the_credit_for_what_the_server_remembers():
    training = TrainingTerms(server_optimizer="momentum", server_momentum=0.5)
    updates = [{"a": np.array([1.0, 0.0])}, {"b": np.zeros(SIZE)}, {"b": np.zeros(SIZE)}]
    found, states = contributions(lambda w: -np.ones(SIZE), updates, training)
    assert states[-1].model.tolist() == [0.5 + 1.75, 0.5]
    assert found == pytest.approx({"a": 1.75, "b": 0.0})


def test_updates_are_kept_until_what_is_left_of_them_is_a_millionth():
    carried, step = CarriedWeights(), LinearStep(scale=np.ones(1), decay=0.5)
    released = [list(carried.add_round(number, np.ones(1), step)) for number in range(25)]
    first = next(number for number, found in enumerate(released) if found)
    assert first == 19 and [item for item, _ in released[first]] == [0]
    assert released[first][0][1] == pytest.approx([2.0], abs=4e-6)
    assert [item for item, _ in carried.rest()] == list(range(25 - first, 25)) and list(carried.rest()) == []


def test_plain_averaging_keeps_nothing():
    carried, step = CarriedWeights(), LinearStep(scale=np.array([2.0]), decay=0.0)
    assert [(item, weights.tolist()) for item, weights in carried.add_round("x", np.array([3.0]), step)] == [
        ("x", [6.0])
    ]
    assert list(carried.rest()) == []
