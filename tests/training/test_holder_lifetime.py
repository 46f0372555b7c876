"""What a holder with a lifetime budget charges to it, and when it refuses to train."""

import pytest

from fedjoint.errors import BudgetExhausted, PrivacyError, TrainingError
from fedjoint.privacy.events import GaussianEvent, num_steps
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget
from fedjoint.training import holder_run
from fedjoint.training.holder import Holder
from fedjoint.training.plan import Parcel, RoundTask
from tests.fakes import (
    ANYTHING,
    LOCAL_PRIVACY,
    NO_PRIVACY,
    DirectChannel,
    begin,
    make_consortium,
    open_contributions,
    train,
)


def now():
    return "2026-01-01T00:00:00+00:00"


def consortium(folder, *, epsilon=50.0, privacy=LOCAL_PRIVACY):
    """Holders that train three rounds, one of them with a ledger."""
    path = folder / "ledger"
    create_ledger(path, lifetime_budget(epsilon, 1e-5), cohort="c", unit="record", now=now)
    ledger = LifetimeLedger(path, now=now)
    parties = make_consortium(privacy=privacy)
    holder = Holder(parties.identities["ahus"], parties.records["ahus"], ANYTHING, lifetime=ledger)
    holder.sign(parties.terms)
    parties.holders["ahus"] = holder
    return parties, ledger


def train_first_round(parties):
    begin(parties, DirectChannel(holders=parties.holders)).coordinator.prepare()
    task = RoundTask(**parties.session.address, round=1)
    return parties.holders["ahus"].answer("train", Parcel(body=task))


def test_the_whole_run_is_reserved_before_its_first_round_and_each_round_charged_as_it_leaves(tmp_path):
    parties, ledger = consortium(tmp_path)
    train_first_round(parties)
    account = ledger.account()
    (reservation,) = account.reservations
    assert reservation.reserved.agreement_sha256 == parties.agreement.sha256
    assert reservation.reserved.lineage == parties.session.run_id
    assert (num_steps(account.charged), num_steps(account.spent)) == (3, 1)


def test_a_run_gives_its_reservation_back_when_its_contributions_are_opened(tmp_path):
    parties, ledger = consortium(tmp_path)
    channel = DirectChannel(holders=parties.holders)
    run = train(parties, channel)
    assert all(reservation.is_open for reservation in ledger.account().reservations)
    open_contributions(parties, run, channel)
    account = ledger.account()
    assert not any(reservation.is_open for reservation in account.reservations)
    assert num_steps(account.charged) == num_steps(account.spent) == 3


def test_a_run_that_does_not_fit_is_refused_before_its_first_release_and_charges_nothing(tmp_path):
    parties, ledger = consortium(tmp_path, epsilon=2.0)
    with pytest.raises(BudgetExhausted, match="lifetime budget of cohort 'c'"):
        train_first_round(parties)
    assert ledger.account().charged == ()
    with pytest.raises(BudgetExhausted):  # and the round does not count as trained
        parties.holders["ahus"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=1)))


def test_a_round_that_a_killed_process_may_have_released_is_not_computed_again(tmp_path):
    parties, ledger = consortium(tmp_path)
    event = GaussianEvent(sampling_rate=1.0, noise_multiplier=2.0)
    worst = GaussianEvent(sampling_rate=1.0, noise_multiplier=2.0, count=3)
    held = ledger.reserve(
        parties.session.run_id, agreement_sha256=parties.agreement.sha256, events=(worst,), unit="record"
    )
    ledger.commit(held, round_number=1, event=event)
    with pytest.raises(PrivacyError, match="was charged before this process began"):
        train_first_round(parties)
    assert num_steps(ledger.account().spent) == 1


def test_updates_without_noise_are_refused_where_there_is_a_lifetime_budget(tmp_path):
    parties, ledger = consortium(tmp_path, privacy=NO_PRIVACY)
    with pytest.raises(PrivacyError, match="without noise"):
        train_first_round(parties)
    assert ledger.account().charged == ()


def test_a_round_trained_twice_is_refused_before_the_ledger_is_asked(tmp_path):
    parties, ledger = consortium(tmp_path)
    train_first_round(parties)
    with pytest.raises(TrainingError, match="round 1 after round 1"):
        parties.holders["ahus"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=1)))
    assert num_steps(ledger.account().spent) == 1


def test_mode_joint_is_refused_under_a_lifetime_budget_that_cannot_charge_its_contributions(tmp_path, monkeypatch):
    parties, ledger = consortium(tmp_path)
    extra = GaussianEvent(sampling_rate=1.0, noise_multiplier=20.0)
    monkeypatch.setattr(holder_run, "once_released", lambda terms: (extra,))
    with pytest.raises(PrivacyError, match="no lifetime budget charges yet"):
        train_first_round(parties)
    assert ledger.account().charged == ()
