import json
from dataclasses import replace

import numpy as np
import pytest

from fedjoint.data.records import Examples
from fedjoint.errors import AgreementError, DataError, FedjointError, IdentityError
from fedjoint.node.duplicates import Search, answer, ask, compare
from fedjoint.node.home import create_home
from tests.fakes import make_consortium

COMMON = 7


def joined(one, other):
    return Examples(
        features=np.concatenate([one.features, other.features]), targets=np.concatenate([one.targets, other.targets])
    )


@pytest.fixture(scope="module")
def parties():
    return make_consortium()


@pytest.fixture
def searches(parties, tmp_path):
    """One for each holder; cork brings the first records of bern's too."""
    found = {}
    for name, identity in parties.identities.items():
        home = create_home(tmp_path / name, identity, policy="allow_duplicate_search: true\n", settings="")
        examples = parties.records[name]
        if name == "cork":
            examples = joined(examples, parties.records["bern"].take(np.arange(COMMON)))
        found[name] = Search(home=home, identity=identity, agreement=parties.session.agreement, examples=examples)
    return found


def test_a_holder_learns_which_of_its_own_records_the_other_brings_too(searches):
    question = ask(searches["bern"], "cork")
    assert compare(searches["bern"], answer(searches["cork"], question)) == ("cork", tuple(range(COMMON)))
    assert compare(searches["ahus"], answer(searches["bern"], ask(searches["ahus"], "bern"))) == ("bern", ())


def test_neither_file_holds_a_digest_that_could_be_guessed_at(searches):
    question = ask(searches["bern"], "cork")
    reply = answer(searches["cork"], question)
    for name in ("bern", "cork"):
        assert not any(digest.encode() in question + reply for digest in searches[name].digests)
    secret = searches["bern"].folder / "cork.secret"
    assert secret.stat().st_mode & 0o777 == 0o600


def test_nobody_is_answered_without_consent(searches):
    question = ask(searches["bern"], "cork")
    searches["cork"].home.policy.write_text("allow_duplicate_search: false\n")
    with pytest.raises(AgreementError, match="answers nobody"):
        answer(searches["cork"], question)


def test_each_holder_asks_another_once_and_is_answered_once(searches):
    question = ask(searches["bern"], "cork")
    answer(searches["cork"], question)
    with pytest.raises(DataError, match="was answered before"):
        answer(searches["cork"], question)
    with pytest.raises(DataError, match="was asked before"):
        ask(searches["bern"], "cork")
    with pytest.raises(DataError, match="its own records"):
        ask(searches["bern"], "bern")


def test_more_records_than_the_agreement_states_are_not_asked_about(searches, parties):
    guesses = joined(parties.records["bern"], replace(parties.records["bern"], features=np.zeros((30, 3), np.float32)))
    many = replace(guesses, features=guesses.features + np.arange(60, dtype=np.float32)[:, None])
    with pytest.raises(DataError):
        answer(searches["cork"], ask(replace(searches["bern"], examples=many), "cork"))


@pytest.mark.parametrize("spoil", ["asker", "asked", "request", "signature"])
def test_a_question_that_was_altered_is_refused(searches, spoil):
    question = json.loads(ask(searches["bern"], "cork"))
    if spoil == "signature":
        question["signature"] = "0" * 128
    else:
        question["body"][spoil] = {"asker": "ahus", "asked": "ahus", "request": "AAAA"}[spoil]
    altered = json.dumps(question, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises((IdentityError, DataError)):
        answer(searches["cork"], altered)


def test_an_answer_is_for_who_asked_and_by_who_was_asked(searches):
    reply = answer(searches["cork"], ask(searches["bern"], "cork"))
    with pytest.raises(DataError, match="one to this holder's question"):
        compare(searches["ahus"], reply)
    with pytest.raises(FedjointError):
        compare(searches["bern"], reply.replace(b'"asked":"cork"', b'"asked":"ahus"'))
    for rubbish in (b"", b"{}", b'{"body":{},"signature":""}', reply[:-9]):
        with pytest.raises(DataError):
            compare(searches["bern"], rubbish)


def test_a_search_is_of_one_agreement(searches):
    other = make_consortium().session.agreement
    with pytest.raises((DataError, IdentityError)):
        answer(replace(searches["cork"], agreement=other), ask(searches["bern"], "cork"))
