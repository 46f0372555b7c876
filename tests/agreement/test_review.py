from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.review import HolderPolicy, load_policy, require_acceptable, review
from fedjoint.agreement.terms import ModelTerms, PrivacyTerms
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


NONE_TOO = ("local", "joint", "none")


@pytest.mark.parametrize(
    ("changes", "policy", "difference"),
    [
        ({"privacy": PrivacyTerms(mode="none")}, {}, ("privacy.mode", "none", "'local' or 'joint'")),
        ({"privacy": local(epsilon=8.1)}, {}, ("privacy.epsilon", "8.1", "at most 8")),
        ({"privacy": local(delta=0.01)}, {}, ("privacy.delta", "0.01", "at most 0.001")),
        ({"privacy": local(clip_norm=1.5)}, {"maximum_clip_norm": 1.0}, ("privacy.clip_norm", "1.5", "at most 1")),
        (
            {"privacy": local(noise_multiplier=0.5)},
            {"minimum_noise_multiplier": 1.0},
            ("privacy.noise_multiplier", "0.5", "at least 1"),
        ),
        ({"privacy": local()}, {"modes": ("joint",)}, ("privacy.mode", "local", "'joint'")),
        (
            {"privacy": local(insecure_seed=0)},
            {},
            ("privacy.insecure_seed", "0", "none, as it makes the noise predictable"),
        ),
        ({"purpose": "credit scores"}, {"purposes": ("p", "heart")}, ("purpose", "credit scores", "'p' or 'heart'")),
        (
            {"model": ModelTerms(kind="mlp", hidden=(4,))},
            {"models": ("linear",)},
            ("model.kind", "mlp", "'linear'"),
        ),
        ({}, {"minimum_holders": 3}, ("training.minimum_holders", "2", "at least 3")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_each_cap_is_held_against_a_hostile_agreement_alone(compose, changes, policy, difference):
    terms, limits = compose(**changes), HolderPolicy(**policy)
    assert [(one.field, one.agreed, one.allowed) for one in review(terms, limits)] == [difference]
    with pytest.raises(AgreementError, match="'basel' does not sign: ") as refusal:
        require_acceptable(terms, limits, "basel")
    assert difference[0] in str(refusal.value)


def test_all_objections_are_named_at_once(compose):
    terms = compose(privacy=local(insecure_seed=3))
    assert len(review(terms, STRICT)) == 3
    with pytest.raises(AgreementError, match=r"epsilon = 3 .*; privacy\.delta .*; privacy\.insecure_seed"):
        require_acceptable(terms, STRICT, "basel")


def test_a_holder_may_allow_what_is_not_private(compose):
    policy = HolderPolicy(modes=NONE_TOO, allow_insecure_noise=True)
    assert review(compose(privacy=PrivacyTerms(mode="none")), policy) == ()
    assert review(compose(privacy=local(insecure_seed=3)), policy) == ()


def test_to_allow_no_privacy_is_not_to_allow_predictable_noise_or_the_reverse(compose):
    assert review(compose(privacy=local(insecure_seed=3)), HolderPolicy(modes=NONE_TOO))
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
        ({"epsilon_if_opened": 17.0}, {}, "privacy.epsilon_if_opened = 17 where the policy allows at most 16"),
        ({"colluders": 0}, {}, "privacy.colluders = 0 where the policy allows at least 1"),
        ({}, {"maximum_epsilon": 1.0}, "privacy.epsilon = 3 where the policy allows at most 1"),
        ({}, {"modes": ("local",)}, "privacy.mode = joint where the policy allows 'local'"),
    ],
)
def test_a_joint_run_beyond_a_cap_is_objected_to(compose, changes, policy, words):
    assert [str(one) for one in review(compose(privacy=replace(JOINT, **changes)), HolderPolicy(**policy))] == [words]


@pytest.mark.parametrize(
    "name",
    [
        "maximum_epsilon_if_opened",
        "minimum_colluders",
        "minimum_holders",
        "minimum_noise_multiplier",
        "maximum_clip_norm",
        "maximum_lifetime_epsilon",
    ],
)
def test_a_negative_cap_is_refused(name):
    with pytest.raises(InvalidValue, match=name):
        HolderPolicy(**{name: -1})


@pytest.mark.parametrize("name", ["modes", "models", "purposes"])
def test_a_list_that_allows_nothing_is_refused(name):
    with pytest.raises(InvalidValue, match=f"{name} is empty"):
        HolderPolicy(**{name: ()})


def policy_file(folder, text):
    path = folder / "policy.yaml"
    path.write_text(text)
    return path


def test_a_policy_is_read_from_the_holders_own_file_and_keeps_the_defaults_it_does_not_name(tmp_path):
    text = "# ours\nmaximum_epsilon: 1.5\nmaximum_lifetime_epsilon: 4\nmodes: [joint]\npurposes: [heart study]\n"
    expected = HolderPolicy(
        maximum_epsilon=1.5, maximum_lifetime_epsilon=4, modes=("joint",), purposes=("heart study",)
    )
    assert load_policy(policy_file(tmp_path, text)) == expected
    assert load_policy(policy_file(tmp_path, "# nothing\n")) == HolderPolicy()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("maximum_epsilom: 1", "Did you mean 'policy.maximum_epsilon'"),
        ("maximum_epsilon: much", "policy.maximum_epsilon"),
        ("modes: [nothing]", "policy.modes"),
        ("maximum_epsilon: -1", "a finite number from 0"),
        ("maximum_epsilon: .inf", "not plain JSON"),
        ("maximum_epsilon: 1\nmaximum_epsilon: 9", "stands twice"),
        ("modes: &m [joint]\npurposes: *m", "alias"),
        ("[", "no YAML"),
    ],
)
def test_a_policy_with_a_mistake_is_refused_by_name(tmp_path, text, words):
    with pytest.raises(AgreementError, match=words):
        load_policy(policy_file(tmp_path, text))


def test_a_policy_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(AgreementError, match="cannot be read"):
        load_policy(tmp_path / "none.yaml")
    with pytest.raises(AgreementError, match="unknown kind"):
        load_policy(tmp_path / "policy.txt")


def test_a_schema_that_was_read_off_the_records_is_refused_where_privacy_is_on(compose):
    usual = compose()
    inferred = replace(usual.data, schema=replace(usual.data.schema, origin="inferred"))
    (difference,) = review(compose(data=inferred), HolderPolicy())
    assert (difference.field, difference.agreed) == ("data.schema.origin", "inferred")
    assert review(compose(data=inferred), HolderPolicy(allow_inferred_schema=True)) == ()
    assert review(compose(data=inferred, privacy=PrivacyTerms(mode="none")), HolderPolicy(modes=NONE_TOO)) == ()


def test_updates_in_the_clear_need_the_policys_consent(compose):
    kept = replace(compose(), valuation=replace(compose().valuation, keep_updates=True))
    (difference,) = review(kept, HolderPolicy())
    assert (difference.field, difference.agreed) == ("valuation.keep_updates", "true")
    assert review(kept, HolderPolicy(allow_kept_updates=True)) == ()
