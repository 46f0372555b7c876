import pytest

from fedjoint.encryption.opened import CANARY
from fedjoint.errors import BudgetExhausted, InvalidValue
from fedjoint.training.plan import MAX_PARTS, REPLIES, TASKS, ContributionsTask, Opening, Refusal, SampleToOpen

ADDRESS = {"agreement_sha256": "ab" * 32, "run_id": "cd" * 16}


def test_every_task_has_its_reply():
    assert TASKS.keys() == REPLIES.keys()


@pytest.mark.parametrize("contributors", [("bern", "ahus"), ("ahus", "ahus")])
def test_contributors_are_sorted_and_distinct(contributors):
    with pytest.raises(InvalidValue, match="not sorted and distinct"):
        Opening(round=1, contributors=contributors, reveal=True, confirmations={})


@pytest.mark.parametrize("part", [-1, MAX_PARTS])
def test_more_numbers_of_a_holder_than_the_limit_cannot_be_asked_for(part):
    with pytest.raises(InvalidValue, match="expected 0 to 3"):
        SampleToOpen(holder="ahus", part=part)


def test_there_is_one_canary():
    assert SampleToOpen(holder=CANARY, part=0).blob == "_canary.0"
    with pytest.raises(InvalidValue, match="expected 0 to 0"):
        SampleToOpen(holder=CANARY, part=1)


def test_the_same_number_cannot_be_asked_for_twice():
    sample = SampleToOpen(holder="ahus", part=0)
    with pytest.raises(InvalidValue, match="opened twice"):
        ContributionsTask(**ADDRESS, samples=(sample, sample), confirmations={})


def test_a_sample_is_found_under_holder_and_part():
    assert SampleToOpen(holder="ahus", part=3).blob == "ahus.3"


def test_a_refusal_keeps_the_code_and_words_of_its_error():
    refusal = Refusal.because(BudgetExhausted("nothing is left", remedy="Stop."))
    assert refusal == Refusal(code="privacy.budget_exhausted", message="nothing is left. Stop.")
