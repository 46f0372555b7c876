"""The page that a holder reads before it signs."""

from dataclasses import replace

import pytest

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.review import HolderPolicy
from fedjoint.agreement.signing import terms_sha256
from fedjoint.errors import InvalidValue
from fedjoint.node.page import key_facts, write_page
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import costs
from fedjoint.privacy.releases import worst_case
from fedjoint.runs.notation import epsilon_text
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, LOCAL_PRIVACY, make_consortium


def page_of(terms, **policy):
    return write_page(
        terms, terms_sha256(terms), holder_id="bern", policy=HolderPolicy(**{"allow_exact_size": True, **policy})
    )


def words(page):
    return " ".join(sentence for section in page.sections for sentence in section.sentences)


def test_the_page_names_everybody_the_data_the_money_and_what_leaves():
    terms = make_consortium().terms
    said = words(page_of(terms, modes=("none",)))
    for part in ("You are Bern (bern)", "Ahus (ahus)", "Cork (cork)", terms.coordinator.fingerprint):
        assert part in said
    assert "30 records of yours, of 90 in all" in said
    assert "x0, x1, x2, and the target 'ill'" in said
    assert "10.0 % to the exchange, 3.0 % to the reserve" in said
    assert "held back for 90 days" in said
    assert "differ by less than 1.96 standard errors are paid alike, by their numbers of examples" in said
    known = replace(terms, money=replace(terms.money, materiality_errors="noise"))
    assert "standard errors by privacy noise alone" in words(page_of(known, modes=("none",)))
    assert "it weighs 33.3 %" in said
    assert "Epsilon is unbounded" in said


def test_with_joint_noise_both_epsilons_are_those_of_the_accountant():
    terms = make_consortium(privacy=JOINT_PRIVACY, encryption=JOINT_ENCRYPTION).terms
    said = words(page_of(terms))
    whole = epsilon_of(costs(worst_case(terms)), terms.privacy.accounted_delta)
    assert f"spends epsilon {epsilon_text(whole)} at most, of 50 agreed" in said
    assert "one colluding holder included" in said
    assert "If your own ciphertexts were opened (all holders share the key): epsilon" in said


def test_with_local_noise_opened_ciphertexts_change_nothing():
    said = words(page_of(make_consortium(privacy=LOCAL_PRIVACY).terms))
    assert "against everybody, keys or not" in said
    assert "That holds even if your own ciphertexts were opened" in said


def test_where_holders_keep_the_reference_records_the_page_says_so_and_that_their_gradients_leave():
    releases = ReleaseTerms(held_out=0.25)
    said = words(page_of(make_consortium(valuation={"reference": "holders"}, releases=releases).terms, modes=("none",)))
    assert "on records that holders keep out of training) and opened as one number" in said
    assert "After each round: the gradient on 25.0 % of your records that it is not trained on, clipped, enc" in said


def test_numbers_for_the_error_of_a_contribution_are_named_and_a_policy_may_have_fewer():
    terms = make_consortium(privacy=LOCAL_PRIVACY, hidden=(6,), valuation={"error_numbers": 9}).terms
    page = page_of(terms, maximum_epsilon=100.0)
    assert "Once, at the end: 9 more numbers, 16 bits of each, from which the error" in words(page)
    assert [str(one) for one in page.differences] == ["valuation.error_numbers = 9 where the policy allows at most 8"]
    assert "more numbers" not in words(page_of(make_consortium().terms, modes=("none",)))


def test_what_goes_beyond_the_policy_is_listed():
    terms = make_consortium(privacy=LOCAL_PRIVACY).terms
    assert [one.field for one in page_of(terms, maximum_epsilon=3.0).differences] == ["privacy.epsilon"]
    assert page_of(terms, maximum_epsilon=60.0).differences == ()


def test_numbers_that_were_told_with_noise_are_about_so_many():
    terms = make_consortium(privacy=LOCAL_PRIVACY).terms
    noisy = replace(terms, releases=replace(terms.releases, sizes_noise_multiplier=10.0))
    assert "about 30 records of yours, of about 90 in all" in words(page_of(noisy))


def test_reproducible_noise_and_kept_updates_are_said_plainly():
    terms = make_consortium(privacy=replace(LOCAL_PRIVACY, insecure_seed=1)).terms
    assert "it protects nobody" in words(page_of(terms))
    kept = replace(terms, valuation=replace(terms.valuation, keep_updates=True))
    assert "Your updates in the clear" in words(page_of(kept))


def test_the_facts_repeated_before_signing_are_on_the_page():
    terms = make_consortium(privacy=LOCAL_PRIVACY).terms
    said = words(page_of(terms))
    facts = key_facts(terms, "bern")
    assert len(facts) >= 5 and all(fact in said for fact in facts)


def test_a_stranger_has_no_page():
    terms = make_consortium().terms
    with pytest.raises(InvalidValue, match="'mallory' is no holder"):
        write_page(terms, terms_sha256(terms), holder_id="mallory", policy=HolderPolicy())
