"""What a path's gradients are off by through the choice of the records they were taken on."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.encryption.scratch import IN_MEMORY, Scratch
from fedjoint.errors import ValuationError
from fedjoint.privacy.update_noise import longest_update
from fedjoint.privacy.validation_plan import gradient_sampling_sd
from fedjoint.simulation.exact import holder_steps
from fedjoint.training.contributions import valuation_of
from fedjoint.training.optimizer import ServerState
from fedjoint.training.path_gradients import ExchangeGradients, HolderGradients
from fedjoint.training.validation import path_gradient_sum
from fedjoint.valuation.record_groups import RecordGroups
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, LOCAL_PRIVACY, NO_PRIVACY, complete, make_consortium

NOISY = ReleaseTerms(held_out=0.3, validation_noise_multiplier=6.0)
LOCAL = {"privacy": LOCAL_PRIVACY, "valuation": {"reference": "holders"}, "releases": NOISY}
JOINT = LOCAL | {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION}
PLAIN = LOCAL | {"privacy": NO_PRIVACY, "releases": ReleaseTerms(held_out=0.3)}
GROUPS = RecordGroups.drawn(12, error_numbers=3, seed=0)
BEFORE = ServerState(model=np.array([1.0, -2.0], dtype=np.float32))
AFTER = ServerState(model=np.array([2.0, 2.0], dtype=np.float32))


class Slope:
    """Contrasts are multiples of the model: a fake that shows where it was asked."""

    def contrast_gradients(self, model, groups, *, scratch):
        return np.outer(1.0 + np.arange(len(groups.contrasts)), model)


def test_errors_of_a_round_are_taken_once_in_the_middle_of_its_path():
    for scratch in (IN_MEMORY, Scratch(small_bytes=0)):
        gradients = ExchangeGradients(Slope(), points=4, groups=GROUPS, scratch=scratch)
        found = gradients.errors_of_round(BEFORE, AFTER)
        assert found.tolist() == [[1.5, 0.0], [3.0, 0.0], [4.5, 0.0]]


def test_without_groups_or_records_of_the_exchange_there_are_none():
    assert ExchangeGradients(Slope(), points=4).errors_of_round(BEFORE, AFTER).shape == (0, 2)
    assert HolderGradients(make_consortium(**PLAIN).terms, None).errors_of_round(BEFORE, AFTER).shape == (0, 2)


def test_a_group_whose_gradient_is_not_finite_is_refused():
    reference = SimpleNamespace(contrast_gradients=lambda model, groups, *, scratch: np.array([[0.0, math.inf]]))
    with pytest.raises(ValuationError, match=r"not finite\. Lower training\.learning_rate"):
        ExchangeGradients(reference, points=1, groups=GROUPS).errors_of_round(BEFORE, AFTER)


def test_a_valuation_contrasts_as_many_groups_as_were_agreed_the_same_in_every_process():
    parties = make_consortium(hidden=(6,), valuation={"error_numbers": 5})
    state = ServerState(model=parties.start)
    found, again = (
        valuation_of(parties.session, parties.reference, ask=None, scratch=IN_MEMORY)._gradients for _ in range(2)
    )
    rows = found.errors_of_round(state, state)
    assert rows.shape == (5, len(parties.start)) and rows.any(axis=1).all()
    assert (again.errors_of_round(state, state) == rows).all()
    none = valuation_of(make_consortium(hidden=(6,)).session, parties.reference, ask=None, scratch=IN_MEMORY)
    assert none._gradients.errors_of_round(state, state).shape == (0, len(parties.start))


def after_rounds(terms, rounds, *, saved=None):
    """Gradients of rounds of which each says who released its part and who took part."""
    released = iter([SimpleNamespace(values=(0,) * 4, contributors=who) for who, _ in rounds])
    found, state = HolderGradients(terms, lambda number: next(released)), SimpleNamespace(moments=())
    if saved is not None:
        found.restore(saved)
    for number, (_, present) in enumerate(rounds, start=1):
        found.of_round(number, state, state)
        found.take_part(present, state)
    return found


ALL = ("ahus", "bern", "cork")
ROUNDS = [(ALL, ALL), (("ahus", "bern"), ("ahus", "cork"))]


def test_the_bound_adds_clip_norm_times_longest_part_by_the_root_of_the_records_of_each_round():
    """40, 30 and 20 records with 3 of 10 held out: 27 in the first round, 21 in the second; half is remembered."""
    terms = make_consortium(**LOCAL, server_optimizer="momentum", server_momentum=0.5).terms
    found, clip_norm = after_rounds(terms, ROUNDS), terms.privacy.clip_norm
    longest = longest_update(terms, "bern")  # its mean rate is 1 where all take part
    expected = clip_norm * longest * (1 / math.sqrt(27) + 0.5 / math.sqrt(21))
    assert found.sampling_bound("bern") == pytest.approx(expected)
    assert HolderGradients(terms, None).sampling_bound("bern") == 0.0


def test_the_bound_survives_the_process():
    terms = make_consortium(**LOCAL, server_optimizer="momentum", server_momentum=0.5).terms
    first = after_rounds(terms, ROUNDS[:1])
    again = after_rounds(terms, ROUNDS[1:], saved=first.saved())
    assert again.saved() == after_rounds(terms, ROUNDS).saved()
    assert again.sampling_bound("ahus") > first.sampling_bound("ahus") > 0


def test_where_nothing_clips_records_there_is_no_bound():
    plain = after_rounds(make_consortium(**PLAIN).terms, ROUNDS)
    assert plain.sampling_bound("bern") is None and plain.noise_error("bern") == 0.0
    assert math.isinf(gradient_sampling_sd(make_consortium(**PLAIN).terms, ALL))
    assert ExchangeGradients(Slope(), points=1).sampling_bound("bern") is None


@pytest.mark.parametrize("agreed", [LOCAL, JOINT], ids=["local", "joint"])
def test_the_bound_covers_what_the_choice_of_held_out_records_does(agreed):
    """The updates of one run, valued on records held out again and again by coins."""
    parties = make_consortium(**agreed | {"privacy": replace(agreed["privacy"], insecure_seed=5)})
    run, terms = complete(parties), parties.terms
    steps = list(holder_steps(parties.updates, run.contributors, terms))
    own = np.zeros((sum(len(records) for records in parties.records.values()), len(ALL)))
    for before, after, parts in zip(run.models, run.models[1:], steps, strict=False):
        gradients = [
            path_gradient_sum(terms, records.take(np.array([place])), before, after)
            for records in parties.records.values()
            for place in range(len(records))
        ]
        own += np.array(gradients) @ np.array([parts[holder] for holder in ALL]).T
    chosen = np.random.default_rng(2).random((20_000, len(own))) < 0.3
    spread = np.std(chosen @ own / 27, axis=0)
    found = after_rounds(terms, [(ALL, ALL)] * len(steps))
    bounds = np.array([found.sampling_bound(holder) for holder in ALL])
    assert (spread < bounds).all() and (spread > 0.02 * bounds).all()
