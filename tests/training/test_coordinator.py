"""Rounds as the coordinator runs them: what it adds up, what it refuses, and when it stops."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.encryption.frames import pack_frame, parse_frame
from fedjoint.errors import TrainingError
from fedjoint.training.aggregate import model_bytes
from fedjoint.training.plan import Parcel
from tests.fakes import (
    LOCAL_PRIVACY,
    SIZES,
    DirectChannel,
    changed,
    complete,
    fedavg_by_hand,
    flip_bit,
    gone,
    in_round,
    make_consortium,
    train,
)

ALL = ("ahus", "bern", "cork")
OTHERS = ("ahus", "cork")


@pytest.fixture
def parties():
    return make_consortium()


def run_with(parties, meddle):
    return train(parties, DirectChannel(holders=parties.holders, meddle=meddle))


def in_train(number, change, holder="bern"):
    """Meddle with one holder's reply in one round."""

    def meddle(kind, sender, reply):
        hit = kind == "train" and sender == holder and reply.body.receipt.round == number
        return change(reply) if hit else reply

    return meddle


def test_training_is_federated_averaging(parties):
    run = complete(parties)
    assert run.contributors == [ALL] * 3
    for model, expected in zip(run.models, fedavg_by_hand(parties, run.contributors), strict=True):
        assert model == pytest.approx(expected, abs=1e-6)
    assert run.coordinator.end == "all agreed rounds were trained"


def test_with_one_full_batch_step_a_round_it_is_gradient_descent_on_pooled_records(parties):
    run = complete(parties)
    features = np.concatenate([records.features for records in parties.records.values()]).astype(float)
    inputs = np.column_stack([features, np.ones(len(features))])
    targets = np.concatenate([records.targets for records in parties.records.values()])
    model = np.zeros(4)
    for _ in range(3):
        model -= inputs.T @ (1 / (1 + np.exp(-inputs @ model)) - targets) / len(targets)
    assert run.models[-1] == pytest.approx(model, abs=1e-4)  # up to fixed point


def test_holders_and_coordinator_have_the_same_model_to_the_bit(parties):
    run = complete(parties)
    for holder in parties.holders.values():
        assert holder._runs[parties.agreement.sha256]._state.model.tobytes() == run.models[-1].tobytes()
    for facts, model in zip(run.facts("round.opened"), run.models[1:], strict=True):
        assert facts["model_sha256"] == sha256_hex(model_bytes(model))


@pytest.mark.parametrize("scheme", ["seal", "seeded"])
def test_both_schemes_train_the_same_model(parties, scheme):
    other = make_consortium(encryption=replace(parties.terms.encryption, scheme=scheme))
    assert complete(other).models[-1].tobytes() == complete(parties).models[-1].tobytes()


def test_without_privacy_the_same_agreement_gives_the_same_model():
    models = {complete(make_consortium(sampling_rate=0.5, seed=4)).models[-1].tobytes() for _ in range(2)}
    assert len(models) == 1


def test_a_model_with_hidden_layers_is_trained_too():
    run = complete(make_consortium(hidden=(4,), rounds=4))
    assert len(run.models[-1]) == 4 * 4 + 5
    assert run.rounds[-1].loss < run.rounds[0].loss


def test_the_record_says_who_took_part_with_their_own_signatures(parties):
    run = complete(parties)
    for facts, summary in zip(run.facts("round.summed"), run.rounds, strict=True):
        assert set(facts["receipts"]) == set(facts["signatures"]) == set(summary.contributors)
        for holder, receipt in facts["receipts"].items():
            parties.session.check(holder, "receipt", receipt, facts["signatures"][holder])


def test_those_who_reveal_a_sum_take_turns():
    parties = make_consortium(SIZES | {"delft": 25}, rounds=4)
    revealed = {}

    def listen(kind, holder, reply):
        if kind == "train" and "sum" in reply.blobs:
            revealed.setdefault(reply.body.opened.round, []).append(holder)
        return reply

    complete(parties, meddle=listen)
    assert [len(holders) for holders in revealed.values()] == [2, 2, 2]
    assert revealed[1] != revealed[2]


def forged(change):
    """A receipt changed and signed again by its own holder: a false one that is well signed."""

    def forge(parties, reply):
        receipt = change(reply.body.receipt)
        signature = parties.session.sign(parties.identities["bern"], "receipt", receipt)
        return changed(reply, receipt=receipt, signature=signature)

    return forge


def with_frame(change):
    def forge(parties, reply):
        frame = change(reply.blobs["frame"])
        receipt = replace(reply.body.receipt, frame_sha256=sha256_hex(frame))
        signature = parties.session.sign(parties.identities["bern"], "receipt", receipt)
        return changed(reply, reply.blobs | {"frame": frame}, receipt=receipt, signature=signature)

    return forge


FORGERIES = {
    "no frame": lambda parties, reply: changed(reply, {}),
    "a frame that was altered on its way": lambda parties, reply: changed(
        reply, reply.blobs | {"frame": flip_bit(reply.blobs["frame"], 250)}
    ),
    "an unsigned receipt": lambda parties, reply: changed(reply, signature="0" * 128),
    "the receipt of another run": forged(lambda receipt: replace(receipt, run_id="ab" * 16)),
    "the receipt of another round": forged(lambda receipt: replace(receipt, round=1)),
    "the receipt of another holder": forged(lambda receipt: replace(receipt, holder="cork")),
    "the receipt of another frame": forged(lambda receipt: replace(receipt, frame_sha256="ab" * 32)),
    "a receipt that states a cost nobody agreed to": forged(lambda receipt: replace(receipt, epsilon=0.0)),
    "an empty frame, well signed": with_frame(lambda frame: b""),
    "a truncated frame, well signed": with_frame(lambda frame: frame[:-8]),
    "an oversized frame, well signed": with_frame(lambda frame: frame + bytes(8)),
    "a frame with another body, well signed": with_frame(lambda frame: flip_bit(frame, 250)),
    "a frame with another header, well signed": with_frame(lambda frame: flip_bit(frame, 12)),
    "random bytes, well signed": with_frame(lambda frame: np.random.default_rng(0).bytes(len(frame))),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_holder_that_sends_something_false_is_left_out_of_the_round_and_the_others_go_on(parties, forgery):
    run = run_with(parties, in_train(2, lambda reply: forgery(parties, reply)))
    assert run.contributors == [ALL, OTHERS, ALL]
    assert list(run.rounds[1].refusals) == ["bern"]
    assert run.models[-1] == pytest.approx(fedavg_by_hand(parties, run.contributors)[-1], abs=1e-6)


def test_the_frame_of_an_earlier_round_is_refused(parties):
    earlier = []

    def replay(kind, holder, reply):
        if kind == "train" and holder == "bern":
            earlier.append(reply.blobs["frame"])
            return with_frame(lambda frame: earlier[0])(parties, reply)
        return reply

    run = run_with(parties, replay)
    assert run.contributors == [ALL, OTHERS, OTHERS]
    assert run.rounds[1].refusals["bern"].code == "encryption.frame_refused"


def test_an_update_copied_from_another_holder_is_refused(parties):
    seen = {}

    def copy(kind, holder, reply):
        if kind != "train":
            return reply
        number = reply.body.receipt.round
        header = parties.session.frame("update", number, seen.setdefault("key", reply.blobs["frame"][80:112].hex()))
        if holder == "ahus":
            seen[number] = parse_frame(
                reply.blobs["frame"],
                expected=header,
                sender=parties.identities["ahus"].public,
                parameters=parties.session.parameters,
            )
        if holder == "bern" and number == 2:
            stolen = pack_frame(seen[2], header=header, sender=parties.identities["bern"])
            return with_frame(lambda frame: stolen)(parties, reply)
        return reply

    run = run_with(parties, copy)
    assert run.contributors == [ALL, OTHERS, ALL]
    assert "in the sum already" in run.rounds[1].refusals["bern"].message


def opened_as(parties, holder, change):
    """A reply that opens the sum falsely, and is well signed by its own holder."""

    def forge(reply):
        said = reply.body if hasattr(reply.body, "sum_sha256") else reply.body.opened
        facts = {name: getattr(said, name) for name in ("round", "sum_sha256", "model_sha256")} | change
        signature = parties.session.sign(parties.identities[holder], "opened", facts)
        opened = replace(said, **facts, signature=signature)
        blobs = {name: blob for name, blob in reply.blobs.items() if name != "sum"}
        return Parcel(body=opened, blobs=blobs) if said is reply.body else changed(reply, blobs, opened=opened)

    return forge


def test_a_sum_that_one_holder_opened_otherwise_stops_the_run(parties):
    forge = opened_as(parties, "bern", {"sum_sha256": "ab" * 32})
    with pytest.raises(TrainingError, match="the sum of round 1 was opened differently by ahus, bern, cork"):
        run_with(parties, in_train(2, forge))


def test_holders_that_agree_on_another_model_than_the_coordinators_stop_the_run(parties):
    def all_lie(kind, holder, reply):
        if kind == "open_sum":
            forge = opened_as(parties, holder, {"model_sha256": "ab" * 32})
            return Parcel(body=forge(reply).body, blobs=reply.blobs)
        return reply

    with pytest.raises(TrainingError, match="the holders' model after round 3 is another than the coordinator's"):
        run_with(parties, all_lie)


def test_an_opening_that_is_not_signed_by_its_holder_is_refused_with_the_reply_it_came_in(parties):
    def forge(reply):
        return changed(reply, opened=replace(reply.body.opened, signature="0" * 128))

    run = run_with(parties, in_train(2, forge))
    assert run.contributors == [ALL, OTHERS, ALL]
    assert run.rounds[1].refusals["bern"].code == "identity.refused"


def test_an_opening_after_the_last_round_that_is_false_is_passed_over_and_recorded(parties):
    def forge(kind, holder, reply):
        return changed(reply, signature="0" * 128) if (kind, holder) == ("open_sum", "bern") else reply

    run = run_with(parties, forge)
    assert run.coordinator.end == "all agreed rounds were trained"
    assert run.facts("opening.refused") == [{"holder": "bern", "round": 3, "code": "identity.refused"}]
    assert sorted(run.facts("round.opened")[-1]["opened"]) == ["ahus", "cork"]


def test_an_update_that_is_no_encryption_leaves_its_round_unopened_and_the_model_before_it(parties):
    def garble(reply):
        key_id = reply.blobs["frame"][80:112].hex()
        header = parties.session.frame("update", 2, key_id)
        update = parse_frame(
            reply.blobs["frame"],
            expected=header,
            sender=parties.identities["bern"].public,
            parameters=parties.session.parameters,
        )
        garbled = replace(update, c0=update.c0[::-1].copy())
        frame = pack_frame(garbled, header=header, sender=parties.identities["bern"])
        return with_frame(lambda _: frame)(parties, reply)

    run = run_with(parties, in_train(2, garble))
    assert run.contributors == [ALL]
    assert "the sum of round 2 was opened by 0 of at least 2 holders (encryption.refused)" in run.coordinator.end
    assert run.models[-1] == pytest.approx(fedavg_by_hand(parties, [ALL])[-1], abs=1e-6)


# budgets


def with_epsilon(epsilon, sizes=SIZES, **training):
    return make_consortium(sizes, privacy=replace(LOCAL_PRIVACY, epsilon=epsilon), **training)


def test_a_budget_that_ends_in_mid_run_ends_it_cleanly_with_the_model_so_far():
    parties = with_epsilon(2.1, rounds=5)  # two rounds cost 2.053, three 2.629
    run = complete(parties)
    assert run.contributors == [ALL, ALL]
    assert run.coordinator.end == (
        "round 3 was not trained: 0 of at least 2 holders took part (privacy.budget_exhausted)"
    )
    assert run.models[-1] == pytest.approx(fedavg_by_hand(parties, run.contributors)[-1], abs=1e-6)
    assert [receipt.epsilon for receipt in run.rounds[-1].receipts.values()] == pytest.approx([2.053] * 3, abs=1e-3)
    (end,) = run.facts("run.ended_early")
    assert end["round"] == 3 and end["reasons"] == ["privacy.budget_exhausted"] and "is spent" in end["words"]
    assert sum(run.contributions.by_holder.values()) == pytest.approx(
        parties.reference.loss(run.models[0]) - parties.reference.loss(run.models[-1]), rel=5e-3
    )


def test_a_budget_too_small_for_a_single_round_is_an_error_that_says_what_to_change():
    with pytest.raises(TrainingError, match=r"no round could be trained.*Raise privacy\.epsilon") as stopped:
        complete(with_epsilon(1.0))
    assert "epsilon 0 of 1 is spent" in str(stopped.value)


def test_holders_whose_budget_is_spent_are_not_asked_again_and_the_others_go_on():
    parties = with_epsilon(2.1, SIZES | {"delft": 25}, rounds=5)
    channel = DirectChannel(holders=parties.holders, reachable=gone("ahus", "bern", when=in_round(1)))
    run = train(parties, channel)
    assert run.contributors == [("cork", "delft"), ("ahus", "bern", "cork", "delft"), ("ahus", "bern")]
    asked = [holder for kind, holder in channel.asked if kind == "train"]
    assert [asked.count(holder) for holder in parties.holders] == [4, 4, 3, 3]
    assert run.models[-1] == pytest.approx(fedavg_by_hand(parties, run.contributors)[-1], abs=1e-6)
    epsilons = {holder: receipt.epsilon for holder, receipt in run.rounds[-1].receipts.items()}
    assert epsilons == {holder: pytest.approx(2.053, abs=1e-3) for holder in ("ahus", "bern")}
