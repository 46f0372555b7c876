"""What a holder refuses once it is in a run, each by a task sent to it directly."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.encryption.frames import pack_frame, parse_frame
from fedjoint.encryption.opened import ToOpen
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import (
    BudgetExhausted,
    EncryptionError,
    FrameRefused,
    QuorumMissing,
    TrainingError,
)
from fedjoint.identity.keys import Identity
from fedjoint.training.aggregate import state_bytes
from fedjoint.training.confirming import samples_to_open
from fedjoint.training.plan import ContributionsTask, Opening, OpenTask, Parcel, RoundTask, SampleToOpen
from fedjoint.valuation.encrypted import EncryptedContributions
from tests.fakes import LOCAL_PRIVACY, DirectChannel, begin, confirmations, flip_bit, make_consortium, sum_frame

ALL = ("ahus", "bern", "cork")


class Bench:
    """A prepared run whose tasks a test makes by hand."""

    def __init__(self, **agreed):
        self.parties = make_consortium(**agreed)
        run = begin(self.parties, DirectChannel(holders=self.parties.holders))
        run.coordinator.prepare()
        self.key_id = run.coordinator.key_id
        self.address = self.parties.session.address
        self.replies = {}

    def train(self, holder="ahus", round=1, sum=None, **task):
        body = RoundTask(**(self.address | {"round": round} | task))
        return self.parties.holders[holder].answer(
            "train", Parcel(body=body, blobs={} if sum is None else {"sum": sum})
        )

    def train_all(self, round=1, **task):
        self.replies[round] = {holder: self.train(holder, round, **task) for holder in ALL}

    def sum(self, holders=ALL, round=1, **says):
        replies = {holder: self.replies[round][holder] for holder in holders}
        return sum_frame(self.parties, replies, key_id=self.key_id, round_number=round, says=says)

    def opening(self, frame, contributors=ALL, round=1, *, reveal=False, by=ALL):
        subject = ToOpen(slot=round, contributors=contributors, sha256=sha256_of(frame))
        signed = confirmations(self.parties, subject, by)
        return Opening(round=round, contributors=contributors, reveal=reveal, confirmations=signed)

    def open(self, frame, contributors=ALL, round=1, holder="ahus", model=None, reveal=True):
        opening = self.opening(frame, contributors, round, reveal=reveal)
        task = OpenTask(**self.address, opening=opening, catch_up=model is not None)
        blobs = {"sum": frame} | ({} if model is None else {"model": model})
        return self.parties.holders[holder].answer("open_sum", Parcel(body=task, blobs=blobs))

    def samples(self, holders=ALL):
        """A task to open the contributions of the first round."""
        session = self.parties.session
        account = EncryptedContributions(session.parameters)
        account.add_round(self.updates(holders), np.ones(4), rate=1.0)
        masked = account.masked()
        samples = tuple(SampleToOpen(holder=item.holder, part=item.part) for item in masked)
        frames = [
            pack_frame(item.sample, header=session.frame("sample", n, self.key_id), sender=self.parties.coordinator)
            for n, item in enumerate(masked)
        ]
        blobs = {sample.blob: frame for sample, frame in zip(samples, frames, strict=True)}
        return self.samples_task(samples, blobs)

    def samples_task(self, samples, blobs):
        signed = confirmations(self.parties, samples_to_open(self.parties.terms, samples, blobs))
        return Parcel(body=ContributionsTask(**self.address, samples=samples, confirmations=signed), blobs=blobs)

    def updates(self, holders):
        session = self.parties.session
        return {
            holder: parse_frame(
                self.replies[1][holder].blobs["frame"],
                expected=session.frame("update", 1, self.key_id),
                sender=self.parties.identities[holder].public,
                parameters=session.parameters,
            )
            for holder in holders
        }

    def open_contributions(self, parcel, holder="ahus"):
        return self.parties.holders[holder].answer("open_contributions", parcel)


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def trained(bench):
    bench.train_all()
    return bench


# rounds


def test_a_round_is_trained_once(trained):
    with pytest.raises(TrainingError, match=r"round 1 after round 1.*No round is trained twice"):
        trained.train()


@pytest.mark.parametrize("round_number", [0, -1, 4])
def test_a_round_outside_the_agreement_is_refused(bench, round_number):
    with pytest.raises(TrainingError, match=f"round {round_number} after round 0; expected a later one, at most 3"):
        bench.train(round=round_number)


def test_a_round_without_the_sum_of_the_one_before_is_refused(trained):
    with pytest.raises(TrainingError, match="round 2 and the model is of round 0"):
        trained.train(round=2)


def test_the_sum_of_another_round_than_the_one_before_does_not_do(trained):
    opening = trained.opening(trained.sum())
    with pytest.raises(TrainingError, match="round 3 and the model is of round 1"):
        trained.train(round=3, sum=trained.sum(), opening=opening)


def test_a_refused_round_may_still_be_trained_when_the_task_is_right(trained):
    with pytest.raises(TrainingError):
        trained.train(round=2)
    opening = trained.opening(trained.sum())
    assert trained.train(round=2, sum=trained.sum(), opening=opening).body.receipt.round == 2


def test_the_budget_ends_the_holders_part_and_charges_nothing_for_the_refused_round():
    bench = Bench(privacy=replace(LOCAL_PRIVACY, epsilon=1.4))
    bench.train_all()
    opening = bench.opening(bench.sum())
    for _ in range(2):
        with pytest.raises(
            BudgetExhausted, match=r"epsilon 1\.352 of 1\.4 is spent after 1 steps.*would bring it to 2"
        ):
            bench.train(round=2, sum=bench.sum(), opening=opening)
    assert bench.open(bench.sum()).body.round == 1  # the sum is opened all the same


def test_a_receipt_states_all_that_was_released_so_far_and_its_cost():
    bench = Bench(privacy=LOCAL_PRIVACY, local_steps=2)
    bench.train_all()
    opening = bench.opening(bench.sum())
    receipt = bench.train(round=2, sum=bench.sum(), opening=opening).body.receipt
    assert [one.event.count for one in receipt.releases] == [4]
    first = bench.replies[1]["ahus"].body.receipt
    assert [one.event.count for one in first.releases] == [2] and 0 < first.epsilon < receipt.epsilon


# sums


def test_all_holders_open_a_sum_alike_and_sign_for_it(trained):
    frame = trained.sum()
    replies = {holder: trained.open(frame, holder=holder) for holder in ALL}
    assert len({(r.body.sum_sha256, r.body.model_sha256, r.blobs["sum"]) for r in replies.values()}) == 1
    for holder, reply in replies.items():
        facts = {name: getattr(reply.body, name) for name in ("round", "sum_sha256", "model_sha256")}
        trained.parties.session.check(holder, "opened", facts, reply.body.signature)


def test_only_who_is_asked_to_reveals_the_sum(trained):
    assert "sum" not in trained.open(trained.sum(), reveal=False).blobs


def test_the_same_sum_is_answered_the_same_again(trained):
    frame = trained.sum()
    first = trained.open(frame)
    again = trained.open(frame)
    assert (first.body, first.blobs) == (again.body, again.blobs)


def test_another_sum_of_the_same_round_is_refused(trained):
    trained.open(trained.sum())
    with pytest.raises(EncryptionError, match="another sum of round 1 was opened before"):
        trained.open(trained.sum(("ahus", "bern")), ("ahus", "bern"))


def test_a_sum_of_fewer_than_the_minimum_is_not_opened(trained):
    with pytest.raises(EncryptionError, match=r"a sum of 1 holders.*could show one holder's update"):
        trained.open(trained.sum(("bern",)), ("bern",))


def test_a_sum_of_one_said_to_be_of_two_is_not_opened(trained):
    with pytest.raises(EncryptionError, match="a sum of 1 updates said to be of 2 holders"):
        trained.open(trained.sum(("bern",)), ("ahus", "bern"))


def test_a_sum_said_to_be_of_other_holders_than_it_is_of_is_not_opened(trained):
    with pytest.raises(EncryptionError, match="does not decrypt to one of these updates"):
        trained.open(trained.sum(("ahus", "bern")), ("ahus", "cork"))
    assert trained.open(trained.sum(("ahus", "bern")), ("ahus", "bern")).body.round == 1


def test_a_sum_with_strangers_is_not_opened(trained):
    with pytest.raises(EncryptionError, match="1 of them strangers"):
        trained.open(trained.sum(), ("ahus", "bern", "delft"))


def test_the_agreed_minimum_counts_not_the_least_possible():
    bench = Bench(minimum_holders=3)
    bench.train_all()
    with pytest.raises(EncryptionError, match="expected at least 3 holders"):
        bench.open(bench.sum(("ahus", "bern")), ("ahus", "bern"))


@pytest.mark.parametrize(
    "header", [{"kind": "update"}, {"round_number": 2}, {"key_id": "ab" * 32}], ids=["update", "round", "key"]
)
def test_a_sum_that_says_it_is_something_else_is_refused(trained, header):
    frame = trained.replies[1]["bern"].blobs["frame"] if "kind" in header else trained.sum(**header)
    with pytest.raises(FrameRefused):
        trained.open(frame)


def test_a_sum_that_the_coordinator_did_not_sign_is_refused(trained):
    impostor = replace(trained.parties, coordinator=Identity.create("exchange", "Exchange"))
    frame = sum_frame(impostor, trained.replies[1], key_id=trained.key_id, round_number=1, says={})
    for refused in (frame, flip_bit(trained.sum(), 300), trained.sum()[:-1], b""):
        with pytest.raises(FrameRefused):
            trained.open(refused)


def test_a_refused_sum_leaves_the_holder_ready_for_the_right_one(trained):
    with pytest.raises(FrameRefused):
        trained.open(flip_bit(trained.sum(), 300))
    assert trained.open(trained.sum()).body.round == 1


def test_a_sum_for_a_model_that_the_holder_does_not_have_is_refused(trained):
    opening = trained.opening(trained.sum())
    for holder in ("bern", "cork"):
        trained.replies.setdefault(2, {})[holder] = trained.train(holder, 2, trained.sum(), opening=opening)
    with pytest.raises(TrainingError, match="the sum of round 2 for the model of round 0"):
        trained.open(trained.sum(("bern", "cork"), 2), ("bern", "cork"), 2)


def missed(trained):
    """Bern and cork train round 2; ahus missed it. Returns their sum, and the model after round 1."""
    opening = trained.opening(trained.sum())
    for holder in ("bern", "cork"):
        trained.replies.setdefault(2, {})[holder] = trained.train(holder, 2, trained.sum(), opening=opening)
    state = trained.parties.holders["bern"]._runs[trained.parties.agreement.sha256]._state
    return trained.sum(("bern", "cork"), 2), state_bytes(state).tobytes()


def test_a_holder_that_missed_a_round_catches_up(trained):
    frame, model = missed(trained)
    late = trained.open(frame, ("bern", "cork"), 2, model=model)
    there = trained.open(frame, ("bern", "cork"), 2, holder="bern")
    assert late.body.model_sha256 == there.body.model_sha256


@pytest.mark.parametrize("model", [b"", bytes(15), np.full(4, np.nan, "<f4").tobytes()])
def test_a_malformed_model_to_catch_up_with_is_refused_and_changes_nothing(trained, model):
    frame, right = missed(trained)
    with pytest.raises(TrainingError, match="a model"):
        trained.open(frame, ("bern", "cork"), 2, model=model)
    trained.open(frame, ("bern", "cork"), 2, model=right)


def test_a_model_sent_beside_a_false_sum_is_not_taken_over(trained):
    frame, model = missed(trained)
    with pytest.raises(FrameRefused):
        trained.open(flip_bit(frame, 300), ("bern", "cork"), 2, model=np.ones(4, "<f4").tobytes())
    late = trained.open(frame, ("bern", "cork"), 2, model=model)
    assert late.body.model_sha256 == trained.open(frame, ("bern", "cork"), 2, holder="bern").body.model_sha256


def test_a_holder_that_is_up_to_date_keeps_its_own_model(trained):
    first = trained.open(trained.sum(), model=np.ones(4, "<f4").tobytes())
    assert first.body.model_sha256 == trained.open(trained.sum(), holder="bern").body.model_sha256


# contributions


def test_contributions_are_opened_alike_and_once(trained):
    task = trained.samples()
    values = {trained.open_contributions(task, holder).body.values for holder in ("ahus", "bern")}
    assert len(values) == 1
    with pytest.raises(EncryptionError, match="were opened before"):
        trained.open_contributions(task)


def test_a_contribution_of_a_stranger_is_not_opened(trained):
    task = trained.samples(("ahus",))
    stranger = trained.samples_task((SampleToOpen(holder="delft", part=0),), {"delft.0": task.blobs["ahus.0"]})
    with pytest.raises(EncryptionError, match="no holder of this agreement"):
        trained.open_contributions(stranger)


def test_a_missing_altered_or_misplaced_sample_is_refused_and_may_be_sent_again(trained):
    task = trained.samples()
    swapped = {"ahus.0": task.blobs["bern.0"], "bern.0": task.blobs["ahus.0"], "cork.0": task.blobs["cork.0"]}
    altered = {**task.blobs, "cork.0": flip_bit(task.blobs["cork.0"], 500)}
    for blobs in ({}, swapped, altered):
        with pytest.raises(FrameRefused):
            trained.open_contributions(trained.samples_task(task.body.samples, blobs))
        with pytest.raises(QuorumMissing):
            trained.open_contributions(Parcel(body=task.body, blobs=blobs))
    assert len(trained.open_contributions(task).body.values) == 4


def test_an_update_is_not_opened_as_a_contribution(trained):
    task = trained.samples(("ahus",))
    update = {"ahus.0": trained.replies[1]["bern"].blobs["frame"]}
    with pytest.raises(FrameRefused):
        trained.open_contributions(trained.samples_task(task.body.samples, update))
