"""What a holder with a lifetime budget charges to it, and when it refuses to train."""

import pytest

from fedjoint.errors import BudgetExhausted, PrivacyError, TrainingError
from fedjoint.privacy.events import costs, num_steps
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget
from fedjoint.privacy.releases import round_release, worst_case
from fedjoint.training.holder import Holder
from fedjoint.training.plan import Parcel, RoundTask
from tests.fakes import (
    ANYTHING,
    JOINT_ENCRYPTION,
    JOINT_PRIVACY,
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


def consortium(folder, *, epsilon=40.0, if_opened=40.0, **agreed):
    """Holders that train three rounds, one of them with a ledger."""
    path = folder / "ledger"
    limits = lifetime_budget(epsilon, 1e-5), lifetime_budget(if_opened, 1e-5)
    create_ledger(path, limits[0], if_opened=limits[1], cohort="c", unit="record", now=now)
    ledger = LifetimeLedger(path, now=now)
    parties = make_consortium(**({"privacy": LOCAL_PRIVACY} | agreed))
    holder = Holder(parties.identities["ahus"], parties.records["ahus"], ANYTHING, lifetime=ledger)
    holder.sign(parties.terms)
    parties.holders["ahus"] = holder
    return parties, ledger


def steps(releases):
    return num_steps(costs(releases))


JOINT = {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION}


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
    assert (steps(account.charged), steps(account.spent)) == (3, 1)


def test_a_run_gives_its_reservation_back_when_the_coordinator_says_that_it_is_over(tmp_path):
    parties, ledger = consortium(tmp_path)
    channel = DirectChannel(holders=parties.holders)
    run = train(parties, channel)
    open_contributions(parties, run, channel)
    assert all(reservation.is_open for reservation in ledger.account().reservations)
    run.coordinator.finish()
    account = ledger.account()
    assert not any(reservation.is_open for reservation in account.reservations)
    assert steps(account.charged) == steps(account.spent) == 3


def test_a_run_that_does_not_fit_is_refused_before_its_first_release_and_charges_nothing(tmp_path):
    parties, ledger = consortium(tmp_path, epsilon=2.0)
    with pytest.raises(BudgetExhausted, match="lifetime budget of cohort 'c'"):
        train_first_round(parties)
    assert ledger.account().charged == ()
    with pytest.raises(BudgetExhausted):  # and the round does not count as trained
        parties.holders["ahus"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=1)))


def test_a_round_that_a_killed_process_may_have_released_is_not_computed_again(tmp_path):
    parties, ledger = consortium(tmp_path)
    held = ledger.reserve(
        parties.session.run_id,
        agreement_sha256=parties.agreement.sha256,
        releases=worst_case(parties.terms),
        unit="record",
    )
    ledger.commit(held, name="round 1", release=round_release(parties.terms))
    with pytest.raises(PrivacyError, match="was charged before this process began"):
        train_first_round(parties)
    assert steps(ledger.account().spent) == 1


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
    assert steps(ledger.account().spent) == 1


def test_a_joint_run_reserves_contributions_and_rounds_and_charges_the_former_before_the_first_round(tmp_path):
    parties, ledger = consortium(tmp_path, **JOINT)
    train_first_round(parties)
    account = ledger.account()
    assert [(one.purpose, one.event.count) for one in account.spent] == [("contributions", 1), ("training", 1)]
    assert [(one.purpose, one.event.count) for one in account.charged] == [("contributions", 1), ("training", 3)]
    of_sum, if_opened = account.limits()
    assert (num_steps(of_sum.spent), num_steps(if_opened.spent)) == (2, 1)  # two holders less one colluder, and alone


def test_a_joint_run_that_is_too_dear_if_opened_is_refused_before_anything_leaves(tmp_path):
    parties, ledger = consortium(tmp_path, if_opened=1.0, **JOINT)
    with pytest.raises(BudgetExhausted, match="epsilon 1 if its ciphertexts were opened"):
        train_first_round(parties)
    assert ledger.account().charged == ()


def test_a_joint_run_whose_noise_could_be_cut_off_in_view_of_a_huge_epsilon_is_refused(tmp_path):
    parties, _ = consortium(tmp_path, epsilon=80.0, **JOINT)
    with pytest.raises(BudgetExhausted, match="noise that is cut off"):
        train_first_round(parties)


def test_after_the_end_no_round_is_trained_and_a_false_end_costs_only_the_run(tmp_path):
    parties, ledger = consortium(tmp_path)
    train_first_round(parties)
    parties.holders["ahus"].answer("finish", Parcel(body=parties.task()))
    assert steps(ledger.account().charged) == 1
    with pytest.raises(TrainingError, match="is over"):
        parties.holders["ahus"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=2)))
