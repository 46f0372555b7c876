from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.review import HolderPolicy, require_acceptable, review
from fedjoint.agreement.terms import PrivacyTerms
from fedjoint.errors import AgreementError, InvalidValue

LOCAL = {"mode": "local", "epsilon": 3.0, "delta": 1e-4, "clip_norm": 1.0, "noise_multiplier": 5.5}
STRICT = HolderPolicy(maximum_epsilon=1.0, maximum_delta=1e-5)


def local(**changes):
    return PrivacyTerms(**(LOCAL | changes))


def test_terms_within_the_policy_meet_no_objection(compose):
    assert review(compose(), HolderPolicy()) == ()
    require_acceptable(compose(), HolderPolicy(), "basel")


def test_terms_exactly_at_the_limits_meet_no_objection(compose):
    assert review(compose(), HolderPolicy(maximum_epsilon=3.0, maximum_delta=1e-4)) == ()


@pytest.mark.parametrize(
    ("privacy", "policy", "words"),
    [
        (PrivacyTerms(mode="none"), HolderPolicy(), "privacy.mode is none"),
        (local(epsilon=8.1), HolderPolicy(), "privacy.epsilon = 8.1 is above the policy's 8"),
        (local(delta=0.01), HolderPolicy(), "privacy.delta = 0.01 is above the policy's 0.001"),
        (local(insecure_seed=0), HolderPolicy(), "privacy.insecure_seed makes the noise predictable"),
    ],
)
def test_each_objection_is_made_alone(compose, privacy, policy, words):
    (objection,) = review(compose(privacy=privacy), policy)
    assert objection.startswith(words)
    with pytest.raises(AgreementError, match=r"'basel' does not sign: privacy\."):
        require_acceptable(compose(privacy=privacy), policy, "basel")


def test_all_objections_are_named_at_once(compose):
    terms = compose(privacy=local(insecure_seed=3))
    assert len(review(terms, STRICT)) == 3
    with pytest.raises(AgreementError, match=r"epsilon = 3 .*; privacy\.delta .*; privacy\.insecure_seed"):
        require_acceptable(terms, STRICT, "basel")


def test_a_holder_may_allow_what_is_not_private(compose):
    policy = HolderPolicy(allow_no_privacy=True, allow_insecure_noise=True)
    assert review(compose(privacy=PrivacyTerms(mode="none")), policy) == ()
    assert review(compose(privacy=local(insecure_seed=3)), policy) == ()


def test_to_allow_no_privacy_is_not_to_allow_predictable_noise_or_the_reverse(compose):
    assert review(compose(privacy=local(insecure_seed=3)), HolderPolicy(allow_no_privacy=True))
    assert review(compose(privacy=PrivacyTerms(mode="none")), HolderPolicy(allow_insecure_noise=True))


@given(epsilon=st.floats(1e-6, 1e6), limit=st.floats(0, 1e6))
def test_a_run_is_objected_to_exactly_if_it_costs_more_than_the_limit(compose, epsilon, limit):
    objections = review(compose(privacy=local(epsilon=epsilon)), HolderPolicy(maximum_epsilon=limit))
    assert bool(objections) == (epsilon > limit)


@pytest.mark.parametrize(
    "limits",
    [{"maximum_epsilon": bad} for bad in (math.nan, math.inf, -1.0)]
    + [{"maximum_delta": bad} for bad in (math.nan, math.inf, -1e-9, 1.1)],
)
def test_a_limit_that_nothing_would_exceed_is_no_policy(limits):
    with pytest.raises(InvalidValue, match="maximum_"):
        HolderPolicy(**limits)


JOINT = PrivacyTerms(
    **LOCAL | {"mode": "joint"}, colluders=1, epsilon_if_opened=8.0, contributions_noise_multiplier=4.0
)


def test_a_joint_run_within_both_caps_is_signed(compose):
    assert review(compose(privacy=JOINT), HolderPolicy()) == ()


@pytest.mark.parametrize(
    ("changes", "policy", "words"),
    [
        ({"epsilon_if_opened": 17.0}, HolderPolicy(), "privacy.epsilon_if_opened = 17 is above the policy's 16"),
        ({"colluders": 0}, HolderPolicy(), "privacy.colluders = 0 is below the policy's 1"),
        ({}, HolderPolicy(maximum_epsilon=1.0), "privacy.epsilon = 3 is above the policy's 1"),
    ],
)
def test_a_joint_run_beyond_a_cap_is_objected_to(compose, changes, policy, words):
    assert review(compose(privacy=replace(JOINT, **changes)), policy) == (words,)


@pytest.mark.parametrize("name", ["maximum_epsilon_if_opened", "minimum_colluders"])
def test_a_negative_cap_is_refused(name):
    with pytest.raises(InvalidValue, match=name):
        HolderPolicy(**{name: -1})


def test_updates_in_the_clear_need_the_policys_consent(compose):
    kept = replace(compose(), valuation=replace(compose().valuation, keep_updates=True))
    (objection,) = review(kept, HolderPolicy())
    assert objection.startswith("valuation.keep_updates would give updates away")
    assert review(kept, HolderPolicy(allow_kept_updates=True)) == ()
