import dataclasses

import pytest

from fedjoint.agreement.terms import Terms
from fedjoint.encryption.frames import frame_bytes
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import GaussianEvent
from fedjoint.training import preview
from fedjoint.training.preview import preview_costs
from tests.fakes import make_consortium


def terms(**changes: object) -> Terms:
    return dataclasses.replace(make_consortium().agreement.terms, **changes)


def noisy(epsilon: float, noise_multiplier: float, rounds: int) -> Terms:
    plain = terms()
    privacy = dataclasses.replace(
        plain.privacy,
        mode="local",
        epsilon=epsilon,
        delta=1e-5,
        clip_norm=1.0,
        noise_multiplier=noise_multiplier,
    )
    training = dataclasses.replace(plain.training, rounds=rounds, local_steps=2)
    return dataclasses.replace(plain, privacy=privacy, training=training)


def test_bytes_are_those_of_the_frames_that_will_be_sent():
    agreed = terms()
    parameters, costs = agreed_parameters(agreed), preview_costs(agreed)
    assert costs.bytes_up == frame_bytes(parameters, kind="update")
    assert costs.bytes_down == frame_bytes(parameters, kind="sum", count=len(agreed.holders))
    assert costs.bytes_contribution == len(agreed.holders) * frame_bytes(parameters, kind="sample")


def test_seconds_are_measured_and_positive():
    costs = preview_costs(terms())
    assert min(costs.encrypt_s, costs.decrypt_s) > 0 and costs.add_s >= 0
    assert costs.measured_parameters == costs.num_parameters


def test_a_large_model_is_measured_in_part_and_scaled(monkeypatch):
    monkeypatch.setattr(preview, "MEASURED_PARAMETERS", 2)
    costs = preview_costs(terms())
    assert costs.measured_parameters == 2 < costs.num_parameters


def test_without_privacy_no_epsilon_is_stated():
    costs = preview_costs(terms())
    assert (costs.epsilon, costs.epsilon_limit) == (None, None)
    assert costs.rounds_within_budget == costs.rounds


def test_epsilon_at_the_end_is_that_of_all_steps():
    costs = preview_costs(noisy(epsilon=8.0, noise_multiplier=10.0, rounds=5))
    event = GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=10)
    assert costs.epsilon == pytest.approx(epsilon_of((event,), 1e-5))
    assert costs.rounds_within_budget == 5


def test_a_budget_that_ends_early_is_said_beforehand():
    costs = preview_costs(noisy(epsilon=1.0, noise_multiplier=10.0, rounds=50))
    assert costs.epsilon is not None and costs.epsilon > 1.0
    steps = GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=2 * costs.rounds_within_budget)
    more = dataclasses.replace(steps, count=steps.count + 2)
    assert epsilon_of((steps,), 1e-5) <= 1.0 < epsilon_of((more,), 1e-5)
