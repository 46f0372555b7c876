"""Contributions measured on records that holders keep out of training: right, charged, bounded, opened once."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.slots import last_slot, slot_of
from fedjoint.data.records import Examples
from fedjoint.errors import InvalidValue, PrivacyError, RecordError, TrainingError
from fedjoint.models.evaluate import loss_gradient
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import costs
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget
from fedjoint.privacy.releases import itemised, worst_case
from fedjoint.privacy.update_noise import longest_update
from fedjoint.privacy.validation_plan import validation_count, validation_plan
from fedjoint.runs.replay import gradients_to_bytes, sums_to_bytes
from fedjoint.runs.validated import check_validation
from fedjoint.simulation.exact import holder_steps
from fedjoint.training.charges import RunCharges
from fedjoint.training.holder import Holder
from fedjoint.training.local_update import agreed_module, agreed_task
from fedjoint.training.path_gradients import HolderGradients
from fedjoint.training.plan import Parcel, ReleaseTask
from fedjoint.training.validation import path_gradient_sum
from fedjoint.valuation.aumann_shapley import path_gradient
from tests import fakes
from tests.fakes import (
    ANYTHING,
    JOINT_ENCRYPTION,
    JOINT_PRIVACY,
    LOCAL_PRIVACY,
    NO_PRIVACY,
    DirectChannel,
    begin,
    complete,
    examples,
    gone,
    make_consortium,
    train,
)

HOLDERS = {"reference": "holders"}
PLAIN = {"privacy": NO_PRIVACY, "valuation": HOLDERS, "releases": ReleaseTerms(held_out=0.3)}
NOISY = ReleaseTerms(held_out=0.3, validation_noise_multiplier=6.0)
LOCAL = {"privacy": LOCAL_PRIVACY, "valuation": HOLDERS, "releases": NOISY}
JOINT = {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION, "valuation": HOLDERS, "releases": NOISY}


def held_out(parties):
    """What the holders kept out of training, together: only a test sees it."""
    parts = [holder._runs[parties.agreement.sha256]._records.validation for holder in parties.holders.values()]
    return Examples(
        features=np.concatenate([part.features for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
    )


@pytest.mark.parametrize(
    "server", [{}, {"server_optimizer": "momentum", "server_momentum": 0.6}], ids=["sgd", "momentum"]
)
def test_without_privacy_it_is_what_an_exchange_with_the_same_records_would_measure(server):
    parties = make_consortium(flipped={"cork": 0.4}, **PLAIN, **server)
    run = complete(parties)
    terms, records = parties.terms, held_out(parties)
    assert len(records) == sum(validation_count(terms, holder) for holder in terms.holder_ids)

    def gradient(model):
        module, task = agreed_module(terms), agreed_task(terms)
        return loss_gradient(module, model, features=records.features, targets=records.targets, task=task)

    truth, gained = dict.fromkeys(terms.holder_ids, 0.0), 0.0
    models = [model.astype(float) for model in run.models]
    for before, after, steps in zip(
        models, models[1:], holder_steps(parties.updates, run.contributors, terms), strict=False
    ):
        g = path_gradient(gradient, before, after, points=terms.valuation.quadrature_points)
        gained += float(g @ (after - before))
        for holder, step in steps.items():
            truth[holder] += float(g @ step)
    assert run.contributions.by_holder == pytest.approx(truth, abs=5e-4 * gained)
    assert sum(run.contributions.gains) == pytest.approx(gained, rel=5e-4)
    assert run.contributions.noise_errors == dict.fromkeys(terms.holder_ids, 0.0)


@given(seed=st.integers(0, 1000), clip_norm=st.floats(0.05, 2.0))
@settings(max_examples=15, deadline=None)
def test_one_record_changes_a_holders_sum_by_at_most_the_clip_norm(seed, clip_norm):
    terms = make_consortium(**LOCAL | {"privacy": replace(LOCAL_PRIVACY, clip_norm=clip_norm)}).terms
    rng, records = np.random.default_rng(seed), examples(6, seed=seed)
    before, after = rng.normal(size=(2, terms.num_parameters)).astype(np.float32) * 3
    whole = path_gradient_sum(terms, records, before, after)
    less = path_gradient_sum(terms, records.take(np.arange(1, 6)), before, after)
    assert np.linalg.norm(whole - less) <= clip_norm * (1 + 1e-9)
    assert not path_gradient_sum(terms, records.take(np.arange(0)), before, after).any()


@pytest.mark.parametrize("agreed", [LOCAL, JOINT], ids=["local", "joint"])
def test_the_account_has_a_line_of_its_own_for_every_rounds_gradient(agreed):
    parties = make_consortium(**agreed)
    run = complete(parties)
    receipt = run.rounds[-1].receipts["bern"]
    assert receipt.releases == worst_case(parties.terms)
    (line,) = [line for line in itemised(parties.terms, receipt.releases) if line.purpose == "validation"]
    assert line.count == 3 and line.epsilon > 0
    assert (line.epsilon_if_opened is not None) == (agreed is JOINT)
    assert receipt.epsilon == pytest.approx(epsilon_of(costs(receipt.releases), parties.terms.privacy.accounted_delta))
    assert [facts["round"] for facts in run.facts("validation.opened")] == [1, 2, 3]


def test_a_lifetime_ledger_is_charged_for_each_rounds_gradient(tmp_path):
    parties, limit, path = make_consortium(**LOCAL), lifetime_budget(40.0, 1e-5), tmp_path / "ledger"
    create_ledger(path, limit, if_opened=limit, cohort="c", unit="record", now=lambda: "2026-01-01T00:00:00Z")
    ledger = LifetimeLedger(path, now=lambda: "2026-01-01T00:00:00Z")
    ahus = Holder(parties.identities["ahus"], parties.records["ahus"], ANYTHING, lifetime=ledger)
    ahus.sign(parties.terms)
    run = train(parties, DirectChannel(holders={**parties.holders, "ahus": ahus}))
    assert run.contributors[-1] == ("ahus", "bern", "cork")
    run.coordinator.finish()
    spent = [release.event.count for release in ledger.account().spent if release.purpose == "validation"]
    assert sum(spent) == 3 and ledger.account().spent == ledger.account().charged


def test_without_noise_no_gradient_leaves_records_that_have_a_lifetime_budget(tmp_path):
    parties, limit, path = make_consortium(**PLAIN), lifetime_budget(40.0, 1e-5), tmp_path / "ledger"
    create_ledger(path, limit, if_opened=limit, cohort="c", unit="record", now=lambda: "2026-01-01T00:00:00Z")
    charges = RunCharges(parties.session, LifetimeLedger(path, now=lambda: "2026-01-01T00:00:00Z"))
    with pytest.raises(PrivacyError, match="without noise"):
        charges.charge_once("validation")


def test_the_stated_error_covers_what_noise_in_the_gradients_does():
    """Gradients drawn again and again for the updates of one run, whose own noise has a seed: no chance is left."""
    parties = make_consortium(**LOCAL | {"privacy": replace(LOCAL_PRIVACY, insecure_seed=11)})
    run = complete(parties)
    terms, ids, draws = parties.terms, parties.terms.holder_ids, 20_000
    steps = [dict(one) for one in holder_steps(parties.updates, run.contributors, terms)]
    count = sum(validation_count(terms, holder) for holder in ids)
    sd, rng = validation_plan(terms).sd(len(ids)) / count, np.random.default_rng(3)
    for holder in ids:
        path = np.concatenate([one[holder] for one in steps])
        drawn = rng.normal(scale=sd, size=(draws, len(path))) @ path
        by_formula = sd * np.linalg.norm(path)
        assert np.std(drawn) == pytest.approx(by_formula, rel=6 / math.sqrt(2 * draws))
        bound = run.contributions.noise_errors[holder]
        assert 0.2 * bound < by_formula < bound


def test_the_error_by_gradients_is_the_noise_times_the_longest_update_and_remembers_what_the_server_does():
    parties = make_consortium(**LOCAL, server_optimizer="momentum", server_momentum=0.5)
    terms, ids = parties.terms, parties.terms.holder_ids
    opened = SimpleNamespace(values=(0, 0, 0, 0), contributors=ids)
    gradients, state = HolderGradients(terms, lambda number: opened), SimpleNamespace(moments=())
    for number, present in ((1, ids), (2, ("ahus", "cork"))):
        gradients.of_round(number, state, state)
        gradients.take_part(present, state)
    sd = validation_plan(terms).sd(3) / 27
    assert gradients.noise_error("bern") == pytest.approx(sd * longest_update(terms, "bern") * math.hypot(1, 0.5))


def test_without_a_clip_norm_no_update_has_a_bound():
    assert math.isinf(longest_update(make_consortium(**PLAIN).terms, "bern"))


def test_a_gradient_is_released_once_for_the_round_just_opened_and_only_where_it_is_agreed():
    parties = make_consortium(**LOCAL)
    run = begin(parties, DirectChannel(holders=parties.holders))
    run.coordinator.prepare()

    def release(number, holder=parties.holders["ahus"], address=parties.session.address):
        return holder.answer("release", Parcel(body=ReleaseTask(**address, purpose="validation", round=number)))

    for number in (0, 1):
        with pytest.raises(TrainingError, match=r"validation.* are not released now"):
            release(number)
    next(iter(run.coordinator.rounds()))
    for number in (0, 1, 2):
        with pytest.raises(TrainingError, match=r"validation.* are not released now"):
            release(number)
    other = make_consortium()
    run = begin(other, DirectChannel(holders=other.holders))
    run.coordinator.prepare()
    next(iter(run.coordinator.rounds()))
    with pytest.raises(PrivacyError, match="no validation were agreed"):
        release(1, other.holders["ahus"], other.session.address)


def test_a_holder_that_does_not_release_is_left_out_and_too_few_end_the_run():
    missing = gone("cork", when=lambda kind, body: kind == "release")
    parties = make_consortium(**PLAIN)
    run = complete(parties, reachable=missing)
    assert [facts["contributors"] for facts in run.facts("validation.opened")] == [["ahus", "bern"]] * 3
    assert run.contributions.by_holder["cork"] != 0
    parties = make_consortium(**PLAIN)
    alone = gone("bern", "cork", when=lambda kind, body: kind == "release")
    with pytest.raises(TrainingError, match="validation gradients were released by 1 holders"):
        complete(parties, reachable=alone)


@given(rounds=st.integers(1, 200), holders=st.booleans(), metrics=st.booleans())
def test_every_place_under_the_key_is_taken_once_in_the_order_of_a_run(rounds, holders, metrics):
    terms = SimpleNamespace(
        validated_by_holders=holders,
        training=SimpleNamespace(rounds=rounds),
        releases=SimpleNamespace(metrics_noise_multiplier=1.0 if metrics else None),
    )
    order = [slot_of(terms, "statistics"), slot_of(terms, "training", 1)]
    for number in range(1, rounds + 1):
        if number < rounds:
            order.append(slot_of(terms, "training", number + 1))
        if holders:
            order.append(slot_of(terms, "validation", number))
    if metrics:
        order.append(slot_of(terms, "metrics"))
    assert order == sorted(set(order)) and order[-1] == last_slot(terms)


@pytest.mark.parametrize(
    ("agreed", "words"),
    [
        (PLAIN | {"releases": None}, r"releases\.held_out = 0\.0"),
        (PLAIN | {"releases": NOISY}, r"validation_noise_multiplier = 6\.0, privacy\.mode is none"),
        (LOCAL | {"releases": ReleaseTerms(held_out=0.3)}, "validation_noise_multiplier = None"),
        (LOCAL | {"valuation": None}, r"releases\.held_out = 0\.3"),
        (PLAIN | {"valuation": HOLDERS | {"method": "none"}}, r"valuation\.method is none"),
        (PLAIN | {"valuation": HOLDERS | {"utility": "soft_auc"}}, r"valuation\.utility = soft_auc"),
        (PLAIN | {"valuation": HOLDERS | {"keep_updates": True}}, r"valuation\.keep_updates"),
        (PLAIN | {"valuation": HOLDERS | {"reference_num_examples": 5}}, "a reference set of the exchange"),
        (PLAIN | {"hidden": (1024, 1024)}, r"valuation\.reference is holders and the model has 1.* parameters"),
        ({"valuation": {"reference_sha256": None}}, "reference set is not committed to"),
    ],
)
def test_terms_that_do_not_go_together_are_refused(agreed, words):
    with pytest.raises(InvalidValue, match=words):
        make_consortium(**agreed)


def test_gradients_too_large_for_the_encryption_are_refused_before_anything_is_spent():
    narrow = replace(JOINT_ENCRYPTION, bound=8.0, value_bits=8)
    with pytest.raises(PrivacyError, match="do not fit values"):
        make_consortium(**LOCAL | {"encryption": narrow, "releases": replace(NOISY, validation_noise_multiplier=1e3)})
    with pytest.raises(PrivacyError, match="no gradients of the holders were agreed"):
        validation_plan(make_consortium().terms)


def recorded(parties, run):
    """As a run's record tells it."""
    summed = {one.round: SimpleNamespace(receipts=one.receipts) for one in run.rounds}
    rounds = [SimpleNamespace(**facts) for facts in run.facts("round.opened")]
    for one in rounds:
        one.opened = {holder: SimpleNamespace(**reply) for holder, reply in one.opened.items()}
    return SimpleNamespace(
        run_id=parties.session.run_id,
        gradients=[
            SimpleNamespace(**facts | {"contributors": tuple(facts["contributors"])})
            for facts in run.facts("validation.opened")
        ],
        rounds=rounds,
        summed=summed,
        valued=SimpleNamespace(gains=run.contributions.gains),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    parties, folder = make_consortium(**LOCAL), tmp_path_factory.mktemp("run")
    opened, real = [], fakes.Coordinator.release_once
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fakes.Coordinator, "release_once", lambda *args, **named: opened.append(real(*args, **named)) or opened[-1]
        )
        run = complete(parties)
    (folder / "sums.bin").write_bytes(sums_to_bytes(run.models[0], [one.levels for one in run.rounds]))
    (folder / "gradients.bin").write_bytes(gradients_to_bytes([one.values for one in opened]))
    return parties, run, folder


def test_gradients_and_gains_are_verified_from_a_runs_folder(finished):
    parties, run, folder = finished
    assert "they give the gain of each round" in check_validation(folder, recorded(parties, run), parties.agreement)
    exchange = make_consortium()
    none = SimpleNamespace(gradients=[], rounds=[])
    assert "of its own" in check_validation(folder, none, exchange.agreement)
    with pytest.raises(RecordError, match="in rounds"):
        check_validation(folder, recorded(parties, run), exchange.agreement)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda found: found.gradients.pop(), "in rounds"),
        (lambda found: setattr(found.gradients[1], "gradient_sha256", "ab" * 32), "round 2 opened by"),
        (lambda found: setattr(found.gradients[1], "contributors", ("ahus", "bern")), "round 2 opened by"),
        (lambda found: found.gradients[0].opened.clear(), "was opened by 0 holders"),
        (lambda found: setattr(found.valued, "gains", (0.1, 0.2, 0.3)), "the gain stated of a round"),
    ],
)
def test_a_record_that_says_something_else_is_found(finished, spoil, words):
    parties, run, folder = finished
    found = recorded(parties, run)
    for one in found.gradients:
        one.opened = dict(one.opened)
    spoil(found)
    with pytest.raises(RecordError, match=words):
        check_validation(folder, found, parties.agreement)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(lambda data: data[:-8], "bytes; expected"), (lambda data: b"\x01" + data[1:], "another gradient of round 1")],
)
def test_a_changed_file_of_gradients_is_found(finished, tmp_path, spoil, words):
    parties, run, folder = finished
    (tmp_path / "sums.bin").write_bytes((folder / "sums.bin").read_bytes())
    (tmp_path / "gradients.bin").write_bytes(spoil((folder / "gradients.bin").read_bytes()))
    with pytest.raises(RecordError, match=words):
        check_validation(tmp_path, recorded(parties, run), parties.agreement)
