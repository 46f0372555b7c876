"""How many examples a holder has leaves it with noise, charged first, and is told again for nothing."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.terms import HolderTerms
from fedjoint.errors import AgreementError, BudgetExhausted, DataError, InvalidValue, PrivacyError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import costs, costs_if_opened
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.releases import itemised, size_release, worst_case
from fedjoint.privacy.sum_plan import most_examples
from fedjoint.strict import plain
from fedjoint.training.holder import Holder
from fedjoint.training.session import Session
from fedjoint.training.size_release import ReleasedSize, load_size, release_size, save_size
from tests.fakes import (
    ANYTHING,
    JOINT_ENCRYPTION,
    JOINT_PRIVACY,
    LOCAL_PRIVACY,
    complete,
    examples,
    make_consortium,
    sign_by_all,
)

NOISE = 5.0
SAID = ReleasedSize(num_examples=43, unit="record", noise_multiplier=NOISE)


def now():
    return "2026-01-01T00:00:00+00:00"


def ledger(folder, epsilon=8.0):
    path, limit = folder / "patients.ledger", lifetime_budget(epsilon, 1e-5)
    create_ledger(path, limit, if_opened=limit, cohort="c", unit="record", now=now)
    return LifetimeLedger(path, now=now)


def released(count, noise=NOISE, **options):
    records = examples(count, seed=1)
    return release_size(records, "record", noise_multiplier=noise, noise=NoiseSource.secure(), **options)


def test_the_number_is_blurred_by_the_noise_that_is_charged():
    drawn = np.array([released(200).num_examples for _ in range(500)])
    assert drawn.mean() == pytest.approx(200, abs=6.5 * NOISE / 500**0.5)
    assert drawn.std() == pytest.approx(NOISE, rel=6.5 / 1000**0.5)
    event = size_release(NOISE).event
    assert epsilon_of((event,), 1e-5) == pytest.approx(epsilon_of(costs_if_opened([size_release(NOISE)]), 1e-5))
    assert (event.noise_multiplier, event.sampling_rate, event.count) == (NOISE, 1.0, 1)


def test_fewer_than_ten_are_never_told_apart():
    assert {released(count, noise=0.1).num_examples for count in (1, 4, 9)} == {10}
    with pytest.raises(InvalidValue, match="num_examples = 9"):
        ReleasedSize(num_examples=9, unit="record", noise_multiplier=1.0)


def test_patients_are_counted_and_not_their_records():
    records = replace(examples(60, seed=1), groups=np.arange(60) // 3)
    found = release_size(records, "patient", noise_multiplier=0.01, noise=NoiseSource.secure())
    assert (found.num_examples, found.unit) == (20, "patient")
    with pytest.raises(DataError, match="no column names the patient"):
        release_size(examples(60, seed=1), "patient", noise_multiplier=1.0, noise=NoiseSource.secure())


def test_it_is_charged_to_the_lifetime_budget_before_it_is_counted_and_once(tmp_path):
    book = ledger(tmp_path)
    released(200, lifetime=book, name="size 1")
    assert book.account().spent == (size_release(NOISE),) == book.account().charged
    with pytest.raises(PrivacyError, match="'size 1' was released before"):
        released(200, lifetime=book, name="size 1")
    assert book.account().spent == (size_release(NOISE),)


def test_nothing_is_counted_that_the_lifetime_budget_has_no_room_for(tmp_path):
    book = ledger(tmp_path, epsilon=0.01)
    with pytest.raises(BudgetExhausted):
        released(200, lifetime=book, name="size 1")
    assert book.account().spent == ()


def test_what_was_released_is_kept_and_told_again(tmp_path):
    path = tmp_path / "patients.size.json"
    assert load_size(path) is None
    save_size(path, SAID)
    assert load_size(path) == SAID
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text('{"num_examples": 3, "unit": "record", "noise_multiplier": 5.0}')
    with pytest.raises(PrivacyError, match="num_examples = 3"):
        load_size(path)
    with pytest.raises(PrivacyError, match="cannot be written"):
        save_size(tmp_path / "nowhere" / "size.json", SAID)


def agreed(parties, stated=43, noise=NOISE):
    """The consortium's terms with noisy sizes, of which the first holder's is as given."""
    first, *others = parties.terms.holders
    holders = (HolderTerms(identity=first.identity, num_examples=stated), *others)
    return replace(parties.terms, holders=holders, releases=ReleaseTerms(sizes_noise_multiplier=noise))


def holder_of(parties, name="ahus", records=None, **options):
    return Holder(parties.identities[name], parties.records[name] if records is None else records, ANYTHING, **options)


@pytest.fixture(scope="module")
def parties():
    return make_consortium(privacy=LOCAL_PRIVACY)


def test_a_holder_signs_the_number_that_it_released(parties):
    assert holder_of(parties, size=SAID).sign(agreed(parties))


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        (None, {}),
        (SAID, {"stated": 40}),  # the true one
        (SAID, {"noise": 2 * NOISE}),
        (replace(SAID, unit="patient"), {}),
    ],
    ids=["it released none", "another number", "another noise", "another unit"],
)
def test_a_holder_signs_no_number_that_it_did_not_release_and_its_refusal_does_not_tell_the_true_one(
    parties, size, changes
):
    with pytest.raises(AgreementError, match=r"states 4\d records of 'ahus'") as refusal:
        holder_of(parties, size=size).sign(agreed(parties, **changes))
    if "stated" not in changes:
        assert "40" not in str(refusal.value)


def test_records_that_came_since_then_are_refused_before_they_could_exceed_what_the_grid_holds(parties):
    terms = agreed(parties)
    most = most_examples(terms)
    assert 43 + 11 * NOISE < most < 43 + 20 * NOISE
    assert holder_of(parties, records=examples(most, seed=1), size=SAID).sign(terms)
    with pytest.raises(AgreementError, match="more examples by now"):
        holder_of(parties, records=examples(most + 1, seed=1), size=SAID).sign(terms)


def test_without_noise_the_largest_stated_number_is_the_largest_there_is(parties):
    assert most_examples(parties.terms) == 40


@pytest.mark.parametrize("privacy", [LOCAL_PRIVACY, JOINT_PRIVACY], ids=["local", "joint"])
def test_the_account_of_a_run_has_a_line_for_it(parties, privacy):
    terms = replace(agreed(parties), privacy=privacy)
    releases = worst_case(terms)
    assert releases[-2] == size_release(NOISE)
    assert itemised(terms, releases)[-1].purpose == "sizes"
    without = tuple(one for one in releases if one.purpose != "sizes")
    assert epsilon_of(costs(releases), 1e-5) > epsilon_of(costs(without), 1e-5)


def test_a_runs_receipts_charge_it_and_the_lifetime_budget_is_not_charged_twice(parties, tmp_path):
    terms = agreed(parties, stated=43)
    book = ledger(tmp_path, epsilon=200.0)
    sizes = {"ahus": 43, "bern": 30, "cork": 20}
    holders = {
        name: holder_of(
            parties,
            name,
            size=replace(SAID, num_examples=stated),
            lifetime=book if name == "ahus" else None,
        )
        for name, stated in sizes.items()
    }
    session = Session(agreement=sign_by_all(terms, parties.coordinator, holders), run_id="ab" * 16)
    run = complete(replace(parties, terms=terms, session=session, holders=holders))
    assert run.rounds[-1].receipts["ahus"].releases == worst_case(terms)
    assert {one.purpose for one in book.account().spent} == {"training"}


def test_sizes_need_a_privacy_mode(parties):
    with pytest.raises(InvalidValue, match=r"sizes_noise_multiplier is set and privacy\.mode is none"):
        replace(
            agreed(parties),
            privacy=replace(
                LOCAL_PRIVACY, mode="none", epsilon=None, delta=None, clip_norm=None, noise_multiplier=None
            ),
        )


COUNTS = {"ahus": 1013, "bern": 757, "cork": 541}


@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize("privacy", [LOCAL_PRIVACY, JOINT_PRIVACY], ids=["local", "joint"])
def test_no_exact_count_is_in_any_reply_or_in_the_record_of_a_run(privacy, rate):
    encryption = replace(JOINT_ENCRYPTION, bound=4000.0, value_bits=22)
    parties = make_consortium(COUNTS, privacy=privacy, encryption=encryption, sampling_rate=rate)
    stated = {"ahus": 1019, "bern": 750, "cork": 549}
    terms = replace(
        parties.terms,
        holders=tuple(replace(one, num_examples=stated[one.identity.id]) for one in parties.terms.holders),
        releases=ReleaseTerms(sizes_noise_multiplier=NOISE),
    )
    holders = {name: holder_of(parties, name, size=replace(SAID, num_examples=stated[name])) for name in COUNTS}
    session = Session(agreement=sign_by_all(terms, parties.coordinator, holders), run_id="ab" * 16)
    heard = []
    run = complete(
        replace(parties, terms=terms, session=session, holders=holders),
        meddle=lambda kind, holder, reply: heard.append(plain(reply.body)) or reply,
    )
    private = {
        count
        for records in parties.records.values()
        for count in (len(records), int(records.targets.sum()), len(records) - int(records.targets.sum()))
    }
    left = list(leaves([heard, run.events, plain(terms.holders), plain(terms.training)]))
    assert 1019 in left and len(left) > 100
    assert not private & {leaf for leaf in left if isinstance(leaf, int | float)}
    assert not {str(count) for count in private} & {leaf for leaf in left if isinstance(leaf, str)}


def leaves(value):
    """All leaves of a plain value."""
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        yield value
        return
    for item in value:
        yield from leaves(item)
