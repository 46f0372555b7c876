"""Statistics and metrics: released once, opened only as sums, charged, and used alike by everybody."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.agreement.terms import DataTerms, PrivacyTerms
from fedjoint.errors import EncryptionError, InvalidValue, PrivacyError, TrainingError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import costs
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget
from fedjoint.privacy.releases import itemised, once_released, worst_case
from fedjoint.privacy.sum_plan import metrics_plan
from fedjoint.runs.released import released_metrics
from fedjoint.training.holder import Holder
from fedjoint.training.holder_release import plan_of, standardisation_from
from fedjoint.training.plan import OpenReleaseTask, Parcel, ReleaseTask, RoundTask
from tests.fakes import (
    ANYTHING,
    JOINT_ENCRYPTION,
    JOINT_PRIVACY,
    LOCAL_PRIVACY,
    DirectChannel,
    begin,
    gone,
    make_consortium,
    open_contributions,
)

RANGED = Schema(
    columns=tuple(Column(name=f"x{place}", kind="number", low=-4.0, high=4.0) for place in range(3)),
    target=Target(name="ill", task="binary", classes=("no", "yes")),
)
BOTH = ReleaseTerms(statistics_noise_multiplier=2.0, metrics_noise_multiplier=2.0, held_out=0.5)
#: So little noise that what is opened can be compared with the records, and the same each time; it protects nobody.
FAINT = ReleaseTerms(statistics_noise_multiplier=0.01, metrics_noise_multiplier=0.01, held_out=0.5)
DEAR = replace(LOCAL_PRIVACY, epsilon=1e6, insecure_seed=3)


def consortium(releases=BOTH, privacy=LOCAL_PRIVACY, monkeypatch=None, **agreed):
    """As usual, under terms with releases; agreed and signed anew."""
    from tests import fakes

    real = fakes.make_terms

    def with_releases(*args, **kwargs):
        terms = real(*args, **kwargs)
        return replace(terms, releases=releases, data=DataTerms(name="made up", schema=RANGED))

    monkeypatch.setattr(fakes, "make_terms", with_releases)
    return make_consortium(privacy=privacy, **agreed)


def open_once(parties, run, purpose):
    return run.coordinator.release_once(purpose)


def prepared(parties, **channel):
    run = begin(parties, DirectChannel(holders=parties.holders, **channel))
    run.coordinator.prepare()
    return run


@pytest.mark.parametrize("mode", ["local", "joint"])
def test_a_whole_run_standardises_trains_and_measures_and_its_receipts_charge_all_of_it(mode, monkeypatch):
    agreed = {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION} if mode == "joint" else {}
    parties = consortium(monkeypatch=monkeypatch, **agreed)
    run = prepared(parties)
    statistics = open_once(parties, run, "statistics")
    for summary in run.coordinator.rounds():
        run.models.append(run.coordinator.model)
        run.rounds.append(summary)
    metrics = open_once(parties, run, "metrics")
    open_contributions(parties, run, DirectChannel(holders=parties.holders))
    assert statistics.contributors == metrics.contributors == ("ahus", "bern", "cork")
    receipt = run.rounds[-1].receipts["ahus"]
    assert receipt.releases == worst_case(parties.terms)
    purposes = [line.purpose for line in itemised(parties.terms, receipt.releases)]
    assert purposes == ["training", "statistics", *(["contributions"] if mode == "joint" else []), "metrics"]
    assert receipt.epsilon == pytest.approx(epsilon_of(costs(receipt.releases), parties.terms.privacy.accounted_delta))


def test_with_faint_noise_the_statistics_are_those_of_all_records_together(monkeypatch):
    parties = consortium(FAINT, DEAR, monkeypatch=monkeypatch)
    opened = open_once(parties, prepared(parties), "statistics")
    features = np.concatenate([records.features for records in parties.records.values()])
    found = standardisation_from(parties.terms, opened.values, opened.contributors)
    assert np.array(found.center) == pytest.approx(features.clip(-4, 4).mean(axis=0), abs=0.02)
    assert np.array(found.scale) == pytest.approx(features.clip(-4, 4).std(axis=0), abs=0.02)


def test_with_faint_noise_the_histogram_counts_the_records_held_out_and_no_others(monkeypatch):
    parties = consortium(FAINT, DEAR, monkeypatch=monkeypatch)
    run = prepared(parties)
    open_once(parties, run, "statistics")
    list(run.coordinator.rounds())
    opened = open_once(parties, run, "metrics")
    found = released_metrics(metrics_plan(parties.terms), opened.values, num_holders=3)
    inside = [holder._runs[parties.agreement.sha256]._records for holder in parties.holders.values()]
    held_out = sum(int(records._held_out.sum()) for records in inside)
    trained = sum(len(records.training) for records in inside)
    assert found.num_examples == pytest.approx(held_out, abs=1.0)
    assert held_out + trained == 90 and 15 < held_out < 75


def test_no_round_is_trained_before_the_statistics_that_records_are_standardised_by(monkeypatch):
    parties = consortium(monkeypatch=monkeypatch)
    prepared(parties)
    with pytest.raises(TrainingError, match="were not opened yet"):
        parties.holders["ahus"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=1)))


def test_each_is_released_once_in_its_time_and_opened_once(monkeypatch):
    parties = consortium(monkeypatch=monkeypatch)
    run = prepared(parties)
    ahus, address = parties.holders["ahus"], parties.session.address

    def release(purpose):
        return ahus.answer("release", Parcel(body=ReleaseTask(**address, purpose=purpose)))

    with pytest.raises(TrainingError, match="metrics are not released now"):
        release("metrics")
    open_once(parties, run, "statistics")
    with pytest.raises(TrainingError, match="statistics are not released now"):
        release("statistics")
    task = OpenReleaseTask(**address, purpose="statistics", contributors=("ahus", "bern"), confirmations={})
    with pytest.raises(EncryptionError, match="opened before"):
        ahus.answer("open_release", Parcel(body=task, blobs={"sum": b""}))


def test_a_sum_of_too_few_or_of_strangers_is_not_opened(monkeypatch):
    parties = consortium(monkeypatch=monkeypatch)
    prepared(parties)
    for contributors in (("ahus",), ("ahus", "zug")):
        task = OpenReleaseTask(
            **parties.session.address, purpose="statistics", contributors=contributors, confirmations={}
        )
        with pytest.raises(EncryptionError, match="a sum of"):
            parties.holders["ahus"].answer("open_release", Parcel(body=task, blobs={"sum": b""}))


def test_what_was_not_agreed_is_not_released(monkeypatch):
    parties = consortium(ReleaseTerms(), monkeypatch=monkeypatch)
    prepared(parties)
    with pytest.raises(PrivacyError, match="no statistics were agreed"):
        parties.holders["ahus"].answer(
            "release", Parcel(body=ReleaseTask(**parties.session.address, purpose="statistics"))
        )
    with pytest.raises(PrivacyError, match="no statistics were agreed"):
        plan_of(parties.terms, "statistics")


def test_too_few_holders_and_a_false_signature_end_the_release(monkeypatch):
    parties = consortium(monkeypatch=monkeypatch)
    away = gone("bern", "cork", when=lambda kind, body: kind == "release")
    with pytest.raises(TrainingError, match="statistics were released by 1 holders"):
        open_once(parties, prepared(parties, reachable=away), "statistics")
    parties = consortium(monkeypatch=monkeypatch)

    def forge(kind, holder, reply):
        false = kind == "open_release" and holder != "ahus"
        return Parcel(body=replace(reply.body, signature="0" * 128)) if false else reply

    with pytest.raises(TrainingError, match="statistics were opened by 1 holders"):
        open_once(parties, prepared(parties, meddle=forge), "statistics")


def ledger_of(parties, folder):
    """Give one holder a lifetime budget."""
    path, limit = folder / "ledger", lifetime_budget(40.0, 1e-5)
    create_ledger(path, limit, if_opened=limit, cohort="c", unit="record", now=lambda: "2026-01-01T00:00:00Z")
    ledger = LifetimeLedger(path, now=lambda: "2026-01-01T00:00:00Z")
    holder = Holder(parties.identities["ahus"], parties.records["ahus"], ANYTHING, lifetime=ledger)
    holder.sign(parties.terms)
    parties.holders["ahus"] = holder
    return ledger


def test_the_lifetime_budget_is_charged_by_name_before_each_leaves_and_never_twice(tmp_path, monkeypatch):
    parties = consortium(monkeypatch=monkeypatch)
    ledger = ledger_of(parties, tmp_path)
    run = prepared(parties)
    open_once(parties, run, "statistics")
    assert [release.purpose for release in ledger.account().spent] == ["statistics"]
    list(run.coordinator.rounds())
    open_once(parties, run, "metrics")
    assert sorted(release.purpose for release in ledger.account().spent) == ["metrics", "statistics", "training"]
    run.coordinator.finish()
    assert ledger.account().spent == ledger.account().charged


def test_statistics_that_a_killed_process_may_have_released_are_not_computed_again(tmp_path, monkeypatch):
    parties = consortium(monkeypatch=monkeypatch)
    ledger = ledger_of(parties, tmp_path)
    held = ledger.reserve(
        parties.session.run_id,
        agreement_sha256=parties.agreement.sha256,
        releases=worst_case(parties.terms),
        unit="record",
    )
    ledger.commit(held, name="statistics", release=once_released(parties.terms)[0])
    opened = open_once(parties, prepared(parties), "statistics")
    assert opened.contributors == ("bern", "cork")
    assert [release.event.count for release in ledger.account().spent] == [1]


@pytest.mark.parametrize(
    ("releases", "changes", "words"),
    [
        (
            ReleaseTerms(statistics_noise_multiplier=1.0),
            {"privacy": PrivacyTerms(mode="none")},
            "privacy.mode is none and",
        ),
        (ReleaseTerms(statistics_noise_multiplier=1.0), {}, "'x0' has no low and high"),
    ],
)
def test_terms_under_which_they_could_not_be_released_are_refused(releases, changes, words):
    terms = make_consortium(privacy=LOCAL_PRIVACY).terms
    schema = RANGED if changes else terms.data.schema
    with pytest.raises(InvalidValue, match=words):
        replace(terms, releases=releases, data=replace(terms.data, schema=schema), **changes)


def test_private_metrics_need_a_binary_target_and_records_to_be_held_out():
    number = replace(RANGED, target=Target(name="ill", task="number"))
    with pytest.raises(InvalidValue, match="whose task is number"):
        BOTH.check(number, mode="local", unit="record", validated_by_holders=False)
    terms = make_consortium(privacy=LOCAL_PRIVACY).terms
    with pytest.raises(InvalidValue, match=r"and privacy\.unit is patient"):
        replace(
            terms,
            releases=BOTH,
            data=replace(terms.data, schema=RANGED),
            privacy=replace(LOCAL_PRIVACY, unit="patient"),
        )
    for wrong in ({"held_out": 0.2}, {"metrics_noise_multiplier": 1.0}):
        with pytest.raises(InvalidValue, match=r"releases\.held_out"):
            replace(terms, releases=ReleaseTerms(**wrong))
    for out_of_range in ({"held_out": 0.91}, {"statistics_noise_multiplier": 0.0}):
        with pytest.raises(InvalidValue, match="releases"):
            ReleaseTerms(**out_of_range)


def test_what_fills_up_a_ciphertext_changes_neither_model_nor_contributions(monkeypatch):
    parties = consortium(ReleaseTerms(), monkeypatch=monkeypatch)
    wide = consortium(replace(FAINT, held_out=0.01), DEAR, monkeypatch=monkeypatch)
    assert wide.terms.num_coordinates == 20 > parties.terms.num_coordinates == 4
    run = prepared(wide)
    open_once(wide, run, "statistics")
    summaries = list(run.coordinator.rounds())
    assert len(summaries) == 3 and np.isfinite(run.coordinator.model).all()
    contributions = open_contributions(wide, run, DirectChannel(holders=wide.holders))
    gained = wide.reference.loss(wide.start) - summaries[-1].loss
    assert sum(contributions.by_holder.values()) == pytest.approx(gained, rel=0.05)
