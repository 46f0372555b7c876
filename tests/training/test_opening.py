import numpy as np
import pytest

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.errors import IdentityError, TrainingError
from fedjoint.training.aggregate import sum_bytes
from fedjoint.training.opening import Openings
from fedjoint.training.plan import OpenReply
from tests.fakes import NUM_PARAMETERS, make_consortium

CONSORTIUM = make_consortium()
SUM = sum_bytes(np.arange(NUM_PARAMETERS, dtype=np.uint64))


def said(holder="ahus", total=SUM, round_number=2, model="ab" * 32, signer=None):
    facts = {"round": round_number, "sum_sha256": sha256_hex(total), "model_sha256": model}
    signature = CONSORTIUM.session.sign(CONSORTIUM.identities[signer or holder], "opened", facts)
    return OpenReply(**facts, signature=signature)


@pytest.fixture
def openings():
    return Openings(session=CONSORTIUM.session, round=2)


def test_two_holders_who_say_the_same_open_a_sum(openings):
    openings.add("ahus", said("ahus"), SUM)
    assert not openings.complete
    openings.add("bern", said("bern"), None)
    assert openings.complete
    levels, model = openings.agreed()
    assert (levels.tolist(), model) == ([0, 1, 2, 3], "ab" * 32)


def test_one_holder_is_not_enough(openings):
    openings.add("ahus", said("ahus"), SUM)
    with pytest.raises(TrainingError, match="1 holders opened the sum of round 2; expected at least 2"):
        openings.agreed()


def test_one_holder_that_answers_twice_is_still_one(openings):
    openings.add("ahus", said("ahus"), SUM)
    openings.add("ahus", said("ahus"), SUM)
    assert not openings.complete


def test_two_holders_who_reveal_nothing_are_not_enough(openings):
    openings.add("ahus", said("ahus"), None)
    openings.add("bern", said("bern"), None)
    assert not openings.complete
    with pytest.raises(TrainingError, match="one of them revealing it"):
        openings.agreed()


@pytest.mark.parametrize("other", [{"total": SUM[::-1]}, {"model": "cd" * 32}], ids=["sum", "model"])
def test_holders_who_opened_it_differently_stop_the_run_and_are_named(openings, other):
    openings.add("ahus", said("ahus"), SUM)
    openings.add("bern", said("bern"), None)
    openings.add("cork", said("cork", **other), None)
    with pytest.raises(TrainingError, match="opened differently by ahus, bern, cork"):
        openings.agreed()


def test_a_signature_of_another_holder_is_refused(openings):
    with pytest.raises(IdentityError):
        openings.add("ahus", said("ahus", signer="bern"), SUM)
    assert openings.replies == {} and openings.levels is None


def test_an_answer_about_another_round_is_refused(openings):
    with pytest.raises(TrainingError, match="'ahus' opened the sum of round 1; expected round 2"):
        openings.add("ahus", said(round_number=1), SUM)


def test_a_revealed_sum_other_than_the_one_signed_for_is_refused(openings):
    with pytest.raises(TrainingError, match="another sum than it signed for"):
        openings.add("ahus", said(), SUM[::-1])
    assert openings.replies == {}


def test_a_revealed_sum_of_another_length_is_refused(openings):
    with pytest.raises(TrainingError, match="8 bytes"):
        openings.add("ahus", said(total=SUM[:8]), SUM[:8])
    assert openings.replies == {}
