"""A whole run of mode ``joint``: central steps on sums that nobody has in the clear."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.terms import EncryptionTerms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import PrivacyError
from fedjoint.models.tasks import task_of
from fedjoint.models.vector import load_vector
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.clipped_sum import clipped_gradient_sum
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.training.aggregate import ServerState, apply_sum, step_rate
from fedjoint.training.local_update import agreed_module
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, complete, gone, in_round, make_consortium

#: So little noise that the steps can be compared with those on pooled records; it protects nobody.
FAINT = replace(
    JOINT_PRIVACY, noise_multiplier=0.01, contributions_noise_multiplier=0.01, epsilon=1e6, epsilon_if_opened=1e6
)
AGREED = {"encryption": replace(JOINT_ENCRYPTION, bound=60.0), "rounds": 3}


@pytest.fixture
def faint(monkeypatch):
    # an epsilon of a million would ask for a bound that no fixed point has; noise this small is cut off nowhere
    monkeypatch.setattr("fedjoint.privacy.joint_plan.noise_bound", lambda *args, **kwargs: 0.0)
    return make_consortium(privacy=FAINT, **AGREED)


def central_steps(consortium, rounds):
    """Gradient descent on the pooled clipped gradients of whoever takes part, divided by all certified examples."""
    terms, module, model = consortium.terms, agreed_module(consortium.terms), consortium.start.astype(np.float64)
    models = [model]
    for contributors in rounds:
        load_vector(module, model)
        total = sum(
            clipped_gradient_sum(
                module,
                Batch(features=consortium.records[holder].features, targets=consortium.records[holder].targets),
                per_example_loss=task_of("binary").per_example_loss,
                clip_norm=terms.privacy.clip_norm,
            ).total.numpy()
            for holder in contributors
        )
        rate = terms.training.learning_rate / terms.privacy.clip_norm / 90  # 40 + 30 + 20, whoever takes part
        model = model - rate * total
        models.append(model)
    return models


def test_the_model_is_that_of_central_descent_on_pooled_records(faint):
    run = complete(faint)
    assert np.array(run.models) == pytest.approx(np.array(central_steps(faint, run.contributors)), abs=2e-3)
    assert run.contributors == [("ahus", "bern", "cork")] * 3


def test_a_round_without_a_holder_takes_a_shorter_step_over_the_same_number_of_examples(faint):
    run = complete(faint, reachable=gone("ahus", when=in_round(2)))
    assert run.contributors[1] == ("bern", "cork")
    assert np.array(run.models) == pytest.approx(np.array(central_steps(faint, run.contributors)), abs=2e-3)


def test_an_opened_sum_is_divided_by_the_sampling_rate_and_all_certified_examples():
    terms = make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION, sampling_rate=0.5).terms
    assert step_rate(terms, ("ahus",)) == step_rate(terms, ("ahus", "bern")) == pytest.approx(1 / 45)
    parameters = agreed_parameters(terms)
    levels = np.full(6, 2 * parameters.offset, dtype=np.uint64)
    levels[0] += 45
    after = apply_sum(ServerState(model=np.zeros(4, np.float32)), levels, ("ahus", "bern"), terms).model
    assert after == pytest.approx([parameters.step, 0, 0, 0])


def test_a_step_is_in_units_of_the_clip_norm_so_that_one_learning_rate_suits_all():
    one, quarter = (
        make_consortium(privacy=replace(JOINT_PRIVACY, clip_norm=clip), encryption=JOINT_ENCRYPTION).terms
        for clip in (1.0, 0.25)
    )
    assert step_rate(quarter, ("ahus",)) == 4 * step_rate(one, ("ahus",))


def test_contributions_with_faint_noise_add_up_to_the_utility_gained(faint):
    run = complete(faint)
    gained = faint.reference.loss(run.models[0]) - faint.reference.loss(run.models[-1])
    assert sum(run.contributions.by_holder.values()) == pytest.approx(gained, rel=0.05)


def test_contributions_carry_noise_of_their_own_as_large_as_was_agreed():
    """Path gradients and noise are known here: what is opened less what was sent is the blur, of known deviation."""
    blurs = []
    for _ in range(12):
        consortium = make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION, rounds=3)
        run = complete(consortium)
        terms, plan = consortium.terms, JointPlan.of(consortium.terms)
        exact, variance = dict.fromkeys(terms.holder_ids, 0.0), 0.0
        for number, (before, after) in enumerate(zip(run.models, run.models[1:], strict=False), start=1):
            nodes, weights = np.polynomial.legendre.leggauss(terms.valuation.quadrature_points)
            gradient = -sum(
                weight / 2 * consortium.reference.gradient(before.astype(float) + (node + 1) / 2 * (after - before))
                for node, weight in zip(nodes, weights, strict=True)
            )
            rate = step_rate(terms, terms.holder_ids)
            sent = consortium.updates.of_round(number, terms.holder_ids)
            for holder, update in zip(terms.holder_ids, sent, strict=True):
                exact[holder] += rate * float(gradient @ update)
            variance += float(gradient @ gradient) * (rate * plan.contribution_sd * plan.step) ** 2
        blurs += [(run.contributions.by_holder[h] - exact[h]) / variance**0.5 for h in terms.holder_ids]
    assert len(blurs) == 36
    assert 0.45 < np.std(blurs) < 1.8  # chi-squared with 36 degrees: a false alarm in 1e6 runs


def test_a_holder_does_not_sign_a_fixed_point_that_would_cut_noise_off():
    with pytest.raises(PrivacyError, match=r"encryption\.bound = 50 in mode joint"):
        make_consortium(privacy=JOINT_PRIVACY, encryption=EncryptionTerms(bound=50.0, value_bits=20))


def test_receipts_state_both_epsilons_and_charge_the_contributions_before_the_first_round():
    run = complete(make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION))
    first, last = run.rounds[0].receipts["bern"], run.rounds[-1].receipts["bern"]
    assert [release.event.count for release in first.releases] == [1, 1]
    assert [release.event.count for release in last.releases] == [1, 3]
    assert first.epsilon < last.epsilon <= JOINT_PRIVACY.epsilon
    assert first.epsilon_if_opened < last.epsilon_if_opened
