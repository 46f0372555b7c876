import json
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.agreement.signing import read_agreement
from fedjoint.config import load_config
from fedjoint.errors import RecordError
from fedjoint.record.log import read_record
from fedjoint.runs.folder import AGREEMENT, LEDGER, MODEL, RECORD, REPORT, REPORT_PAGE, STATEMENTS
from fedjoint.runs.recompute import check_confirmations, check_contributions
from fedjoint.runs.recorded import read_recorded_run
from fedjoint.runs.verify import Check, verify_run
from fedjoint.simulation.simulate import simulate
from tests.runs.conftest import SMALL

FILES = (AGREEMENT, RECORD, MODEL, REPORT, REPORT_PAGE, LEDGER, f"{STATEMENTS}/holder-1.json")
FLIPS = 25


def failed(folder: Path, **options: str) -> list[Check]:
    return [check for check in verify_run(folder, **options) if check.outcome == "failed"]


def any_file(folder: Path, name: str) -> Path:
    """The named file; any statement stands for the statements."""
    return sorted((folder / STATEMENTS).iterdir())[0] if name.startswith(STATEMENTS) else folder / name


def test_an_untouched_folder_passes_every_check(copied_run):
    checks = list(verify_run(copied_run))
    assert [check.outcome for check in checks] == ["passed"] * 14
    assert {check.name for check in checks} >= {
        "record",
        "files",
        "contributions",
        "settlement",
        "ledger",
        "statements",
    }


def test_verification_changes_nothing(copied_run):
    before = {path: path.read_bytes() for path in copied_run.rglob("*") if path.is_file()}
    list(verify_run(copied_run))
    assert {path: path.read_bytes() for path in copied_run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_in_any_file_fails_and_names_the_file(copied_run, name):
    path = any_file(copied_run, name)
    whole, chance = path.read_bytes(), random.Random(name)
    for _ in range(FLIPS):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        problems = failed(copied_run)
        words = " ".join(check.name + " " + check.detail for check in problems)
        assert problems, f"byte {place} of {name} was changed and nothing failed"
        assert path.name in words or path.stem in words, words


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_fails(copied_run, name):
    any_file(copied_run, name).unlink()
    assert failed(copied_run)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_fails(copied_run, name):
    path = any_file(copied_run, name)
    path.write_bytes(path.read_bytes()[:-1])
    assert failed(copied_run)


def test_an_added_file_fails_and_is_named(copied_run):
    (copied_run / STATEMENTS / "forged.json").write_text("{}")
    assert any("statements/forged.json" in check.detail for check in failed(copied_run))


def test_the_last_event_cannot_be_cut_off(copied_run):
    record = copied_run / RECORD
    record.write_bytes(b"".join(record.read_bytes().splitlines(keepends=True)[:-1]))
    assert [check.name for check in failed(copied_run)] == ["record"]


def test_checks_that_rest_on_a_failed_one_are_skipped_and_say_so(copied_run):
    (copied_run / AGREEMENT).write_bytes(b"{}")
    checks = {check.name: check for check in verify_run(copied_run)}
    assert checks["agreement"].outcome == "failed"
    assert checks["record"].outcome == "skipped"
    assert "agreement" in checks["record"].detail


def test_another_agreement_than_the_expected_one_fails(copied_run, small_run):
    assert not failed(copied_run, agreement_sha256=small_run.report.agreement_sha256)
    assert [check.name for check in failed(copied_run, agreement_sha256="0" * 64)] == ["agreement"]


def test_a_report_that_was_rewritten_canonically_still_fails(copied_run):
    path = copied_run / REPORT
    report = json.loads(path.read_bytes())
    report["holders"][0]["payout_minor"] += 1
    path.write_bytes(canonical_bytes(report))
    assert {check.name for check in failed(copied_run)} == {"files", "report"}


def test_no_folder_is_an_error_in_words(tmp_path):
    with pytest.raises(RecordError, match="no run folder"):
        list(verify_run(tmp_path / "nowhere"))


def test_every_statement_tells_how_far_its_contribution_could_be_off(small_run):
    report = small_run.report
    for holder in report.holders:
        document = json.loads((small_run.folder / "statements" / f"{holder.id}.json").read_text())
        error = document["statement"]["contribution_error"]
        assert (error["by_noise"], error["by_sampling"]) == (holder.noise_error, holder.sampling_error)
        assert error["by_noise"] > 0 and error["by_sampling"] > 0
        group = next((group for group in report.contributions.paid_alike if holder.id in group), (holder.id,))
        assert sorted([holder.id, *error["paid_alike_with"]]) == list(group)
    by_size = {holder.id: Fraction(holder.share_exact) / holder.num_examples for holder in report.holders}
    assert all(len({by_size[holder] for holder in group}) == 1 for group in report.contributions.paid_alike)


def recorded(folder):
    agreement = read_agreement((folder / "agreement.json").read_bytes())
    holders = {holder.identity.id: holder.identity for holder in agreement.terms.holders}
    record = read_record(folder / RECORD, agreement.sha256, agreement.terms.coordinator, witnesses=holders)
    return agreement, read_recorded_run(record.events, agreement)


def without_quorum(confirmed):
    few = dict(list(confirmed.confirmations.items())[:1])
    return replace(confirmed, confirmations=few)


def of_another_sum(confirmed):
    return replace(confirmed, subject=replace(confirmed.subject, sha256="ab" * 32))


def of_fewer_holders(confirmed):
    return replace(confirmed, subject=replace(confirmed.subject, contributors=confirmed.subject.contributors[1:]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_quorum, "was confirmed by 1 holders; expected at least 3"),
        (of_another_sum, "confirmation of place 1 by"),
        (of_fewer_holders, "in place 1 is not what holders confirmed"),
        (None, "in place 1 is not what holders confirmed"),
    ],
)
def test_a_sum_opened_without_a_quorum_that_confirmed_it_fails(small_run, change, words):
    agreement, run = recorded(small_run.folder)
    assert "each confirmed as the only one by a quorum of 3 holders" in check_confirmations(run, agreement)
    confirmed = {slot: one for slot, one in run.confirmed.items() if slot != 1}
    if change is not None:
        confirmed[1] = change(run.confirmed[1])
    with pytest.raises(RecordError, match=words):
        check_confirmations(replace(run, confirmed=confirmed), agreement)


@pytest.fixture(scope="session")
def run_with_errors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return simulate(load_config([*SMALL, "privacy=local", "valuation.error_numbers=4", f"run.folder={folder}"]))


def test_errors_that_holders_opened_are_computed_again_and_stand_in_report_and_statements(run_with_errors):
    checks = {check.name: check for check in verify_run(run_with_errors.folder)}
    assert {check.outcome for check in checks.values()} == {"passed"}
    num_holders = len(run_with_errors.report.holders)
    assert checks["contributions"].detail.startswith(f"{5 * num_holders} opened numbers, signed by 2 holders")
    assert run_with_errors.report.contributions.error_numbers == 4
    for holder in run_with_errors.report.holders:
        assert holder.sampling_error > 0 and holder.sampling_exact > 0
        assert holder.sampling_error != holder.sampling_exact
        document = json.loads((run_with_errors.folder / STATEMENTS / f"{holder.id}.json").read_text())
        error = document["statement"]["contribution_error"]
        assert (error["by_sampling"], error["numbers"]) == (holder.sampling_error, 4)


def with_error(run, place, **changes):
    errors = list(run.valued.errors)
    errors[place] = replace(errors[place], **changes)
    return with_errors(run, tuple(errors))


def with_errors(run, errors):
    return replace(run, valued=replace(run.valued, errors=errors))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: with_error(run, 0, opened=run.valued.errors[0].opened ^ 1), "contributions opened by"),
        (lambda run: with_error(run, 0, number=2), "contributions opened by"),
        (lambda run: with_error(run, 0, span=1.0), "on different scales"),
        (lambda run: with_error(run, 0, mask="-1"), "out of range"),
        (lambda run: with_errors(run, run.valued.errors[:-1]), "contributions opened by"),
        (lambda run: replace(run, sampled=None), "is not what was opened"),
    ],
)
def test_numbers_for_errors_that_are_not_what_holders_signed_or_what_is_stated_fail(run_with_errors, change, words):
    agreement, run = recorded(run_with_errors.folder)
    assert "give the contributions and their errors" in check_contributions(run, agreement)
    with pytest.raises(RecordError, match=words):
        check_contributions(change(run), agreement)


def test_numbers_for_errors_that_nobody_agreed_on_fail(small_run, run_with_errors):
    agreement, run = recorded(small_run.folder)
    _, other = recorded(run_with_errors.folder)
    with pytest.raises(RecordError, match="contributions opened by"):
        check_contributions(with_errors(run, other.valued.errors), agreement)


def resigned(run, agreement, monkeypatch):
    """As if holders had signed for what the record now says."""
    monkeypatch.setattr("fedjoint.runs.recompute.require_signed", lambda *facts: None)
    return check_contributions(run, agreement)


def test_numbers_for_errors_that_are_left_out_of_what_was_signed_fail_too(small_run, run_with_errors, monkeypatch):
    agreement, run = recorded(run_with_errors.folder)
    first = run.valued.errors[0].holder
    without_one = tuple(error for error in run.valued.errors if error.holder != first)
    with pytest.raises(RecordError, match="missing"):
        resigned(with_errors(run, without_one), agreement, monkeypatch)
    with pytest.raises(RecordError, match="for the error of contributions"):
        resigned(with_error(run, 0, number=2), agreement, monkeypatch)
    halved = tuple(replace(error, span=error.span / 2) for error in run.valued.errors)
    with pytest.raises(RecordError, match="is not what was opened"):
        resigned(with_errors(run, halved), agreement, monkeypatch)
    nothing = replace(with_errors(run, ()), sampled=None)
    assert "the agreed numbers for their errors were not opened" in resigned(nothing, agreement, monkeypatch)
    other_agreement, other = recorded(small_run.folder)
    with pytest.raises(RecordError, match="that were not agreed"):
        resigned(with_errors(other, run.valued.errors), other_agreement, monkeypatch)
