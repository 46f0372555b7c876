"""A holder whose process is killed: what it says when it is asked again, and what it never does a second time."""

import stat
from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.errors import AgreementError, EncryptionError, PrivacyError, TrainingError
from fedjoint.privacy.events import costs, num_steps
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget
from fedjoint.training.holder import Holder
from fedjoint.training.holder_release import HolderRecords
from fedjoint.training.holder_state import HolderFolder, HolderMemory
from fedjoint.training.local_update import noise_source
from fedjoint.training.plan import Parcel, RoundTask
from tests.fakes import (
    ANYTHING,
    LOCAL_PRIVACY,
    DirectChannel,
    MemoryHolder,
    begin,
    examples,
    make_consortium,
    open_contributions,
    train,
)


class Site:
    """The holder 'ahus' with a store, in a consortium whose other holders forget all."""

    def __init__(self, store, lifetime=None, **agreed):
        self.parties, self.store, self.lifetime = make_consortium(**agreed), store, lifetime
        self.start().sign(self.parties.terms)

    def start(self, records=None):
        self.holder = Holder(
            self.parties.identities["ahus"],
            records or self.parties.records["ahus"],
            ANYTHING,
            store=self.store,
            lifetime=self.lifetime,
        )
        self.parties.holders["ahus"] = self.holder
        return self.holder

    def restart(self, records=None):
        """Another process: of the one before nothing is left but its store."""
        self.holder.close()
        return self.start(records)

    def prepared(self):
        self.run = begin(self.parties, DirectChannel(holders=self.parties.holders))
        self.run.coordinator.prepare()
        return self.run

    def ask_to_train(self, number=1):
        return self.holder.answer("train", Parcel(body=RoundTask(**self.parties.session.address, round=number)))


@pytest.fixture
def site():
    return Site(MemoryHolder())


def killed_after(holder, *, kind):
    """A channel on which one holder is started anew after each task of a kind that it answered."""

    def meddle(asked, name, reply):
        if name == "ahus" and asked == kind:
            holder.restart()
        return reply

    return DirectChannel(holders=holder.parties.holders, meddle=meddle)


def test_a_signature_outlives_the_process(site):
    site.restart()
    site.prepared()
    assert site.run.coordinator.holders[0] == "ahus"


def test_what_was_signed_by_another_process_counts_meanwhile(tmp_path):
    trains = HolderMemory(HolderFolder(tmp_path / "node", holder="ahus"))
    assert not trains.has_signed("ab" * 32)
    HolderFolder(tmp_path / "node", holder="ahus").mark_signed("ab" * 32)
    assert trains.has_signed("ab" * 32)
    assert not HolderFolder(tmp_path / "node", holder="bern").has_signed("ab" * 32)
    trains.close()


def test_a_round_asked_for_again_is_answered_with_the_very_same_bytes(site):
    site.prepared()
    first = site.ask_to_train()
    assert site.ask_to_train() == first
    site.restart()
    assert site.ask_to_train() == first


def test_without_a_store_a_round_asked_for_again_is_refused():
    site = Site(None)
    site.prepared()
    site.ask_to_train()
    with pytest.raises(TrainingError, match="round 1 after round 1"):
        site.ask_to_train()


def test_the_key_outlives_the_process_and_is_sealed_again_to_the_others(site):
    site.prepared()
    key_id = site.run.coordinator.key_id
    site.restart()
    assert site.holder.answer("make_key", Parcel(body=site.parties.task())).body.acknowledgement.key_id == key_id


@pytest.mark.parametrize("kind", ["join", "make_key", "train", "open_sum", "open_contributions"])
def test_a_holder_restarted_after_every_task_of_a_kind_gives_the_same_model_and_contributions(kind):
    undisturbed = make_consortium()
    plain = train(undisturbed, DirectChannel(holders=undisturbed.holders))
    site = Site(MemoryHolder())
    channel = killed_after(site, kind=kind)
    run = train(site.parties, channel)
    assert run.contributors == [("ahus", "bern", "cork")] * 3
    assert [model.tobytes() for model in run.models] == [model.tobytes() for model in plain.models]
    ours = open_contributions(site.parties, run, channel).by_holder
    theirs = open_contributions(undisturbed, plain, DirectChannel(holders=undisturbed.holders)).by_holder
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_contributions_opened_before_are_said_again_and_others_refused(site):
    site.prepared()
    asked = []

    def meddle(kind, holder, reply):
        if kind == "open_contributions" and holder == "ahus":
            asked.append(reply)
        return reply

    class Recording(DirectChannel):
        def exchange(self, kind, tasks):
            if kind == "open_contributions":
                asked.append(tasks["ahus"])
            yield from super().exchange(kind, tasks)

    list(site.run.coordinator.rounds())
    open_contributions(site.parties, site.run, Recording(holders=site.parties.holders, meddle=meddle))
    task, reply = asked
    site.restart()
    assert site.holder.answer("open_contributions", task) == reply
    fewer = replace(task.body, samples=task.body.samples[:1])
    with pytest.raises(EncryptionError, match="opened before"):
        site.holder.answer("open_contributions", Parcel(body=fewer, blobs=task.blobs))


def test_what_is_over_stays_over_and_its_key_is_gone(tmp_path):
    site = Site(HolderFolder(tmp_path / "node", holder="ahus"))
    site.prepared()
    site.ask_to_train()
    (key,) = (tmp_path / "node").rglob("key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first = site.holder.answer("finish", Parcel(body=site.parties.task()))
    assert not key.exists() and not list((tmp_path / "node" / "runs" / site.parties.session.run_id / "blobs").iterdir())
    site.restart()
    assert site.holder.answer("finish", Parcel(body=site.parties.task())) == first
    with pytest.raises(TrainingError, match="is over"):
        site.ask_to_train(2)
    again = site.parties.next_run()
    with pytest.raises(AgreementError, match="was run before"):
        site.holder.answer(
            "join",
            Parcel(
                body=replace(site.parties.task(), run_id=again.run_id),
                blobs={"agreement": site.parties.agreement.to_bytes()},
            ),
        )
    site.holder.close()


def test_another_number_of_records_than_the_run_was_begun_with_is_refused(site):
    site.prepared()
    with pytest.raises(TrainingError, match="begun with 40 records and there are 41"):
        site.restart(examples(41, seed=1))


def test_who_is_held_out_stays_held_out(site):
    terms, chosen = site.parties.terms, np.arange(40) % 3 == 0
    source = noise_source(terms.privacy, "ahus")
    records = HolderRecords(terms, "ahus", site.parties.records["ahus"], noise=source, held_out=chosen.tobytes())
    assert records.held_out == chosen.tobytes() and len(records.training) == 40 - chosen.sum()


@pytest.mark.parametrize("kind", ["train", "release", "open_release"])
def test_validation_gradients_outlive_the_process_too(kind):
    agreed = {"valuation": {"reference": "holders"}, "releases": ReleaseTerms(held_out=0.3)}
    values = []
    for site in (Site(None, **agreed), Site(MemoryHolder(), **agreed)):
        channel = killed_after(site, kind=kind) if site.store else DirectChannel(holders=site.parties.holders)
        run = train(site.parties, channel)
        assert [facts["contributors"] for facts in run.facts("validation.opened")] == [["ahus", "bern", "cork"]] * 3
        values.append(open_contributions(site.parties, run, channel).by_holder)
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def charged_site(tmp_path):
    limits = lifetime_budget(40.0, 1e-5)
    create_ledger(tmp_path / "ledger", limits, if_opened=limits, cohort="c", unit="record", now=lambda: "2026-01-01")
    ledger = LifetimeLedger(tmp_path / "ledger", now=lambda: "2026-01-01")
    return Site(MemoryHolder(), ledger, privacy=LOCAL_PRIVACY), ledger


def spent(ledger):
    return num_steps(costs(ledger.account().spent))


def test_a_restarted_holder_charges_each_round_once_and_gives_its_reservation_back(tmp_path):
    site, ledger = charged_site(tmp_path)
    channel = killed_after(site, kind="train")
    run = train(site.parties, channel)
    assert run.contributors == [("ahus", "bern", "cork")] * 3
    assert spent(ledger) == 3
    receipts = [summary.receipts["ahus"] for summary in run.rounds]
    assert [num_steps(costs(receipt.releases)) for receipt in receipts] == [1, 2, 3]
    site.restart()
    run.coordinator.finish()
    assert not any(reservation.is_open for reservation in ledger.account().reservations)


def test_a_round_charged_by_a_process_that_was_killed_before_it_said_so_counts_and_is_not_computed(tmp_path):
    site, ledger = charged_site(tmp_path)
    site.prepared()
    memory = site.store.runs[site.parties.session.binding].checkpoints
    before = memory._state, dict(memory._names), dict(memory._blobs)
    site.ask_to_train()
    memory._state, memory._names, memory._blobs = before  # as if it had been killed right after the ledger was written
    site.restart()
    with pytest.raises(PrivacyError, match="charged before this process began"):
        site.ask_to_train()
    assert spent(ledger) == 1
    with pytest.raises(TrainingError, match="round 1 after round 1"):
        site.ask_to_train()
    assert site.holder._runs[site.parties.agreement.sha256]._charges.epsilon == pytest.approx(1.352, abs=1e-3)
