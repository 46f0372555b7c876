import dataclasses
import itertools

import numpy as np
import pytest
import torch

from fedjoint.agreement.terms import PrivacyTerms
from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.privacy.accounting import noise_multiplier_for
from fedjoint.privacy.audit import audit, num_attacks
from fedjoint.privacy.audit_bound import epsilon_lower_bound, p_value
from fedjoint.privacy.audit_inversion import invert
from fedjoint.privacy.audit_membership import BREAKAGES, Mechanism, attack, mechanism_of
from fedjoint.privacy.audit_report import Membership
from fedjoint.privacy.noise import NoiseSource
from fedjoint.training.auditing import audit_agreement
from fedjoint.training.local_update import agreed_module, agreed_task
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, make_consortium

DELTA = 1e-5
NOISE = noise_multiplier_for(3.0, DELTA, sampling_rate=1.0, steps=6)
LOCAL = PrivacyTerms(mode="local", epsilon=3.1, delta=DELTA, clip_norm=0.5, noise_multiplier=NOISE)


@pytest.fixture(autouse=True)
def noise_with_a_seed(monkeypatch):
    """An attack on secret noise succeeds by chance, more or less: here it does so alike each time."""
    counter = itertools.count()
    monkeypatch.setattr(NoiseSource, "secure", classmethod(lambda cls: cls.insecure(next(counter), "audit")))


def bound(mechanism, seed=0):
    guesses, correct = attack(mechanism, clip_norm=1.0, generator=np.random.default_rng(seed))
    return epsilon_lower_bound(delta=DELTA, canaries=2000, guesses=guesses, correct=correct)


def test_without_delta_the_p_value_is_that_of_independent_coins():
    assert p_value(0.0, 0.0, canaries=3, guesses=3, correct=2) == pytest.approx(0.5)  # 4 of 8 ways
    assert p_value(np.log(3), 0.0, canaries=2, guesses=2, correct=2) == pytest.approx(9 / 16)


def test_delta_adds_what_the_theorem_says():
    # one guess: beta = 1/2, alpha = 1/2 at i = 1
    assert p_value(0.0, 0.1, canaries=2, guesses=1, correct=1) == pytest.approx(0.5 + 2 * 2 * 0.1 * 0.5)


def test_a_bound_is_the_epsilon_at_which_the_p_value_meets_the_confidence():
    found = epsilon_lower_bound(delta=DELTA, canaries=2000, guesses=400, correct=300)
    assert p_value(found, DELTA, canaries=2000, guesses=400, correct=300) == pytest.approx(0.05, rel=1e-4)
    assert 0.8 < found < np.log(3)


def test_more_right_guesses_than_guesses_are_refused():
    with pytest.raises(InvalidValue, match="5 right of 4 guesses"):
        p_value(1.0, 0.0, canaries=9, guesses=4, correct=5)
    with pytest.raises(InvalidValue):
        Membership(
            view="update", mechanism="agreed", claimed_epsilon=None, delta=0.1, canaries=4, guesses=3, correct=4,
            lower_bound=0.0, provable_at_most=0.0,
        )  # fmt: skip


@pytest.mark.parametrize("shares", [0, 3], ids=["local", "joint"])
def test_the_attack_finds_much_of_the_epsilon_there_is_and_never_more(shares):
    noise = noise_multiplier_for(3.0, DELTA, sampling_rate=1.0, steps=2)
    mechanism = Mechanism(
        clip_norm=1.0, noise_multiplier=noise / max(shares, 1) ** 0.5, sampling_rate=1.0, rounds=2, shares=shares
    )
    assert 0.5 < bound(mechanism) < 2.0  # 0.9 to 1.4 for most seeds


@pytest.mark.parametrize("shares", [0, 1], ids=["local", "joint"])
@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda one: one.name)
def test_a_mechanism_broken_on_purpose_is_caught(breakage, shares):
    noise = noise_multiplier_for(3.0, DELTA, sampling_rate=1.0, steps=1)
    agreed = Mechanism(clip_norm=1.0, noise_multiplier=noise, sampling_rate=1.0, rounds=1, shares=shares)
    assert bound(breakage.broken(agreed)) > 4.0


def test_full_batches_are_attacked_in_ten_steps_of_the_same_cost():
    terms = make_consortium(privacy=LOCAL, rounds=90).terms
    made = mechanism_of(terms, "update")
    assert (made.rounds, made.local_steps) == (1, 10)
    assert 10 / made.noise_multiplier**2 == pytest.approx(90 / NOISE**2)
    sampled = mechanism_of(make_consortium(privacy=LOCAL, rounds=90, sampling_rate=0.5).terms, "update")
    assert (sampled.local_steps, sampled.noise_multiplier) == (90, NOISE)


def test_an_agreement_without_privacy_has_no_mechanism():
    with pytest.raises(PrivacyError, match="no privacy"):
        mechanism_of(make_consortium(privacy=PrivacyTerms(mode="none")).terms, "update")


def test_an_update_in_the_clear_gives_the_record_away_exactly():
    torch.manual_seed(4)
    module, record = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)), torch.randn(3)
    module(record[None]).square().sum().backward()
    update = np.concatenate([parameter.grad.numpy().ravel() for parameter in module.parameters()])
    assert invert(module, -0.3 * update) == pytest.approx(record.numpy(), rel=1e-3, abs=1e-4)
    assert invert(module, 0 * update).tolist() == [0.0, 0.0, 0.0]


def test_a_model_without_a_first_linear_layer_is_not_inverted():
    with pytest.raises(PrivacyError, match="does not start with a linear layer"):
        invert(torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1), torch.nn.Flatten()), np.zeros(2))


def test_an_audit_of_local_privacy_finds_no_attack_and_catches_what_is_broken():
    agreement, heard = make_consortium(privacy=LOCAL, rounds=6).session.agreement, []
    report = audit_agreement(agreement, run="demo", seed=1, on_attack=heard.append)
    (agreed,) = report.agreed
    assert agreed.claimed_epsilon == pytest.approx(3.0, rel=1e-3)
    assert not (report.claim_refuted or report.self_check_failed)
    assert [one.refutes_claim for one in report.self_checks] == [True] * 3
    bare, protected = report.inversions
    assert bare.relative_error < 1e-6 and bare.recovered
    assert protected.relative_error > 0.5 and not protected.recovered
    assert "No attack found" in report.outcome and "no proof" in report.outcome
    assert len(heard) == num_attacks(agreement.terms)


def test_an_audit_of_joint_privacy_looks_at_the_sums_and_at_one_opened_share():
    consortium = make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION, rounds=2)
    report = audit_agreement(consortium.session.agreement, run="demo", seed=1)
    assert [one.view for one in report.agreed] == ["aggregate", "one_share"]
    assert not report.claim_refuted
    assert [one.protected for one in report.inversions] == [False, True, True]


def test_an_audit_without_privacy_says_that_nothing_is_claimed():
    consortium = make_consortium(privacy=PrivacyTerms(mode="none"))
    report = audit_agreement(consortium.session.agreement, run="demo", seed=1)
    assert report.agreed[0].correct == report.agreed[0].guesses
    assert report.outcome.startswith("No privacy is claimed")


def test_a_claim_that_the_code_does_not_keep_is_refuted(monkeypatch):
    from fedjoint.privacy import local_training

    monkeypatch.setattr(
        local_training.NoiseSource, "gaussian", lambda self, shape, *, sd: np.zeros(shape), raising=True
    )
    terms = make_consortium(privacy=LOCAL, rounds=6)
    report = audit(
        terms.session.agreement, run="demo", module=agreed_module(terms.terms),
        per_example_loss=agreed_task(terms.terms).per_example_loss, generator=np.random.default_rng(0),
    )  # fmt: skip
    assert report.claim_refuted and report.outcome.startswith("REFUTED")


def test_an_audit_that_misses_a_broken_mechanism_says_that_it_did_not_work():
    agreement = make_consortium(privacy=PrivacyTerms(mode="none")).session.agreement
    report = audit_agreement(agreement, run="demo", seed=1)
    found = dataclasses.replace(report.agreed[0], claimed_epsilon=3.0, correct=200, lower_bound=0.0)
    blind = dataclasses.replace(
        report, mode="local", membership=(found, dataclasses.replace(found, mechanism="noise off"))
    )
    assert blind.self_check_failed and blind.outcome.startswith("The audit did not work")
