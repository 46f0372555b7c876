import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fedjoint.errors import BudgetExhausted, InvalidValue, PrivacyError
from fedjoint.privacy.events import GaussianEvent, Release, costs, costs_if_opened, num_steps
from fedjoint.privacy.journal import counter_path
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import cut_off_allowed, lifetime_budget, runs_left

AGREEMENT = "a" * 64
WIDE = lifetime_budget(24.0, 1e-5)


def training(count=1, *, noise=40.0, rate=1.0, share=None):
    """Steps of training; without a share of noise the same if opened."""
    event = GaussianEvent(sampling_rate=rate, noise_multiplier=noise, count=count)
    opened = GaussianEvent(sampling_rate=rate, noise_multiplier=share or noise, count=count)
    return Release(purpose="training", event=event, if_opened=opened)


def steps(releases):
    return num_steps(costs(releases))


STEP = training()
RUN = (training(40),)
THIRTY_RUNS = (training(1200),)


def now():
    return "2026-01-01T00:00:00+00:00"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "patients.ledger"
    create_ledger(path, lifetime_budget(8.0, 1e-5), if_opened=WIDE, cohort="clinic", unit="record", now=now)
    return path


@pytest.fixture
def ledger(path):
    return LifetimeLedger(path, now=now)


def reserve(ledger, lineage="run-1", releases=RUN, **other):
    return ledger.reserve(lineage, **({"agreement_sha256": AGREEMENT, "releases": releases, "unit": "record"} | other))


def charged(path):
    return steps(LifetimeLedger(path, now=now).account().charged)


def test_a_reservation_counts_in_full_until_it_is_given_back_and_then_only_what_was_released(path, ledger):
    held = reserve(ledger)
    assert ledger.commit(held, name="round 1", release=STEP)
    assert charged(path) == 40
    ledger.give_back(held)
    assert charged(path) == 1
    assert steps(ledger.account().spent) == 1


def test_a_round_is_charged_once_however_often_and_under_whatever_reservation_it_is_asked(path, ledger):
    first = reserve(ledger)
    assert [ledger.commit(first, name="round 1", release=STEP) for _ in range(3)] == [True, False, False]
    ledger.give_back(first)
    again = reserve(ledger)
    assert again != first
    assert not ledger.commit(again, name="round 1", release=STEP)
    assert ledger.commit(again, name="round 2", release=STEP)
    ledger.give_back(again)
    assert charged(path) == 2


def test_a_run_that_asks_again_is_given_the_reservation_it_holds(path, ledger):
    assert reserve(ledger) == reserve(LifetimeLedger(path, now=now))
    assert charged(path) == 40


def test_a_run_that_asks_again_for_something_else_is_refused(ledger):
    reserve(ledger)
    for other in ({"releases": THIRTY_RUNS}, {"agreement_sha256": "b" * 64}):
        with pytest.raises(PrivacyError, match="of other releases or under another agreement"):
            reserve(ledger, **other)


def test_runs_under_other_agreements_share_one_limit_and_the_refusal_says_what_is_left_and_what_to_do(path, ledger):
    first = reserve(ledger, "run-1", THIRTY_RUNS)
    ledger.commit(first, name="round 1", release=training(600))
    reserve(ledger, "run-2", THIRTY_RUNS, agreement_sha256="b" * 64)
    reserve(ledger, "run-3", THIRTY_RUNS, agreement_sha256="c" * 64)
    before = path.read_bytes()
    with pytest.raises(BudgetExhausted) as refusal:
        reserve(ledger, "run-4", THIRTY_RUNS)
    for part in (
        "'clinic'",
        "epsilon 8",
        "14.3% is spent",
        "71.3% reserved",
        "14.5% left",
        "need 28.5%",
        "--give-back",
    ):
        assert part in str(refusal.value)
    assert path.read_bytes() == before


def test_a_reservation_given_back_while_its_process_lives_is_refused_to_it(path, ledger):
    held = reserve(ledger)
    LifetimeLedger(path, now=now).give_back(held)
    with pytest.raises(PrivacyError, match="was given back"):
        ledger.commit(held, name="round 1", release=STEP)
    with pytest.raises(PrivacyError, match="was given back"):
        ledger.give_back(held)


def test_a_round_that_releases_more_than_was_reserved_is_refused(ledger):
    held = reserve(ledger, releases=(STEP,))
    for release in (
        training(noise=39.0),
        training(2),
        training(rate=0.5),
        training(share=39.0),
        Release(purpose="metrics", event=STEP.event, if_opened=STEP.if_opened),
    ):
        with pytest.raises(PrivacyError, match="more than was reserved"):
            ledger.commit(held, name="round 1", release=release)
    with pytest.raises(InvalidValue, match="name"):
        ledger.commit(held, name="", release=STEP)


def test_another_unit_an_unknown_reservation_and_nothing_are_refused(ledger):
    with pytest.raises(PrivacyError, match="protects one patient"):
        reserve(ledger, unit="patient")
    with pytest.raises(PrivacyError, match="no reservation 'x'"):
        ledger.commit("x", name="round 1", release=STEP)
    with pytest.raises(PrivacyError, match="no reservation 'x'"):
        ledger.give_back("x")
    with pytest.raises(InvalidValue, match="nothing to reserve"):
        reserve(ledger, releases=())
    with pytest.raises(InvalidValue, match="lineage"):
        reserve(ledger, "")


def test_a_run_whose_ciphertexts_would_cost_too_much_if_opened_is_refused_though_its_sums_fit(path, ledger):
    run = (training(40, share=5.0),)
    fitting = runs_left(WIDE, (), costs_if_opened(run))
    assert fitting < runs_left(lifetime_budget(8.0, 1e-5), (), costs(run))
    for number in range(fitting):
        reserve(ledger, f"run-{number}", run)
    with pytest.raises(BudgetExhausted, match=r"epsilon 24 if its ciphertexts were opened.* 0\.0% is spent"):
        reserve(ledger, "one more", run)
    assert charged(path) == 40 * fitting


def test_what_costs_nothing_more_if_opened_is_not_held_against_that_limit(ledger):
    once = Release(purpose="contributions", event=STEP.event, if_opened=None)
    reserve(ledger, releases=(once, *RUN))
    opened, if_opened = (num_steps(limit.charged) for limit in ledger.account().limits())
    assert (opened, if_opened) == (41, 40)


def test_the_chance_that_noise_is_cut_off_adds_up_over_runs_and_is_held_against_its_part_of_delta(path, ledger):
    allowed = cut_off_allowed(lifetime_budget(8.0, 1e-5))
    assert allowed == pytest.approx(1e-8 / (1 + 2980.958), rel=1e-6)
    held = reserve(ledger, "run-1", cut_off=0.6 * allowed)
    with pytest.raises(BudgetExhausted, match="noise that is cut off"):
        reserve(ledger, "run-2", cut_off=0.6 * allowed)
    ledger.give_back(held)  # nothing was released: nothing can have been cut off
    assert reserve(ledger, "run-2", cut_off=0.6 * allowed)
    with pytest.raises(InvalidValue, match="cut_off"):
        reserve(ledger, "run-3", cut_off=1.5)


def test_the_files_are_the_owners_alone_and_a_ledger_open_to_others_is_refused(path, ledger):
    reserve(ledger)
    assert {name.stat().st_mode & 0o777 for name in (path, counter_path(path))} == {0o600}
    path.chmod(0o640)
    with pytest.raises(PrivacyError, match="chmod 600"):
        ledger.account()


def test_a_ledger_is_never_overwritten_nor_begun_again_once_it_was_charged(path, ledger):
    def create():
        create_ledger(path, lifetime_budget(8.0, 1e-5), if_opened=WIDE, cohort="clinic", unit="record", now=now)

    with pytest.raises(PrivacyError, match="exists"):
        create()
    reserve(ledger)
    path.unlink()
    with pytest.raises(PrivacyError, match="would forget them"):
        create()
    with pytest.raises(PrivacyError, match="cannot be opened"):
        ledger.account()


def test_a_creation_that_was_cut_off_can_be_repeated(path):
    path.unlink()  # the counter is written first, and nothing was charged
    create_ledger(path, lifetime_budget(3.0, 1e-5), if_opened=WIDE, cohort="clinic", unit="patient", now=now)
    assert LifetimeLedger(path, now=now).account().created.budget.epsilon == 3.0


def test_a_folder_that_is_not_there_and_a_cohort_without_a_name_are_refused(tmp_path):
    budget = lifetime_budget(8.0, 1e-5)
    with pytest.raises(PrivacyError, match="cannot be written"):
        create_ledger(tmp_path / "no" / "ledger", budget, if_opened=WIDE, cohort="clinic", unit="record", now=now)
    with pytest.raises(InvalidValue, match="cohort"):
        create_ledger(tmp_path / "ledger", budget, if_opened=WIDE, cohort="", unit="record", now=now)


def test_a_line_that_a_crash_tore_is_cut_off_and_its_writer_was_never_told_that_it_counts(path, ledger):
    reserve(ledger)
    whole, counter = path.read_bytes(), counter_path(path).read_bytes()
    reserve(ledger, "run-2")
    torn = path.read_bytes()[: len(whole) + 30]
    path.write_bytes(torn)
    counter_path(path).write_bytes(counter)
    assert charged(path) == 40  # reading changes nothing
    assert path.read_bytes() == torn
    reserve(ledger, "run-3")
    assert charged(path) == 80
    assert path.read_bytes().startswith(whole)


def test_a_line_that_only_lacks_its_end_is_charged(path, ledger):
    reserve(ledger)
    counter = counter_path(path).read_bytes()
    held = reserve(ledger, "run-2")
    path.write_bytes(path.read_bytes()[:-1])
    counter_path(path).write_bytes(counter)
    assert charged(path) == 80
    LifetimeLedger(path, now=now).give_back(held)
    assert charged(path) == 40


def test_a_line_that_was_finished_and_then_torn_is_damage_and_not_a_crash(path, ledger):
    reserve(ledger)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PrivacyError, match="has 1 lines and had 2"):
        ledger.account()


def test_a_ledger_put_back_from_a_backup_is_refused(path, ledger):
    reserve(ledger)
    backup = path.read_bytes()
    reserve(ledger, "run-2")
    path.write_bytes(backup)
    for ask in (ledger.account, lambda: reserve(ledger, "run-3")):
        with pytest.raises(PrivacyError, match="has 2 lines and had 3"):
            ask()


def test_a_counter_that_is_missing_damaged_or_of_another_ledger_is_refused(path, ledger):
    reserve(ledger)
    for data, words in [
        (b"{", "damaged"),
        (json.dumps({"seq": 1, "head": "0" * 64}).encode(), "not of one ledger"),
        (json.dumps({"seq": -5, "head": "0" * 64}).encode(), "not of one ledger"),
        (None, "missing"),
    ]:
        if data is None:
            counter_path(path).unlink()
        else:
            counter_path(path).write_bytes(data)
        with pytest.raises(PrivacyError, match=words):
            ledger.account()


def test_any_changed_byte_is_noticed(path, ledger):
    held = reserve(ledger)
    ledger.commit(held, name="round 1", release=STEP)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(PrivacyError):
            LifetimeLedger(path, now=now).account()


def test_a_removed_line_and_an_empty_file_are_refused(path, ledger):
    reserve(ledger)
    reserve(ledger, "run-2")
    lines = path.read_bytes().splitlines(keepends=True)
    for data in (lines[0] + lines[2], b""):
        path.write_bytes(data)
        with pytest.raises(PrivacyError):
            LifetimeLedger(path, now=now).account()


def test_a_link_and_a_folder_are_no_ledger(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    for place in (link, tmp_path):
        with pytest.raises(PrivacyError):
            LifetimeLedger(place, now=now).account()


def test_a_disk_that_is_full_charges_nothing_and_releases_nothing(path, ledger, monkeypatch):
    before, real = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:40]))
    with pytest.raises(PrivacyError, match="disk is full"):
        reserve(ledger)
    monkeypatch.undo()
    assert path.read_bytes() == before
    reserve(ledger)
    assert charged(path) == 40


def test_two_processes_at_once_never_overspend(path):
    code = (
        "import sys; from pathlib import Path\n"
        "from fedjoint.errors import BudgetExhausted\n"
        "from fedjoint.privacy.events import GaussianEvent, Release\n"
        "from fedjoint.privacy.ledger_file import LifetimeLedger\n"
        "ledger = LifetimeLedger(Path(sys.argv[1]), now=lambda: '')\n"
        "event = GaussianEvent(sampling_rate=1.0, noise_multiplier=40.0, count=400)\n"
        "run = Release(purpose='training', event=event, if_opened=event)\n"
        "for number in range(20):\n"
        "    try: ledger.reserve(f'{sys.argv[2]}-{number}', agreement_sha256='a', releases=(run,), unit='record')\n"
        "    except BudgetExhausted: break\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    account = LifetimeLedger(path, now=now).account()
    assert len(account.reservations) == 10  # 105 runs of 40 steps fit
    assert all(limit.holds for limit in account.limits())


def test_threads_that_share_one_ledger_charge_each_round_once(ledger):
    held, answers = reserve(ledger), []
    threads = [
        threading.Thread(target=lambda: answers.append(ledger.commit(held, name="round 1", release=STEP)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 5 + [True]


def test_processes_killed_at_random_moments_never_under_count_nor_lose_more_than_one_reservation(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "budget_kills.py"
    report = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, script, "--mode", "ledger", "--kills", "8", "--seed", "1", "--json", report],
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(report.read_text())
    assert len(rows) == 8 and rows[-1]["released"] > 0
    for row in rows:
        assert not row["under_counted"] and row["open"] <= 1
        assert 0 <= row["lost"] <= 5 and 0 <= row["lost_after"] <= 1


class AnyOrderWithCrashes(RuleBasedStateMachine):
    """Runs on one ledger; a crash keeps any part of what an operation wrote, and its caller never hears of it."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger"
        self.ledger = LifetimeLedger(self.path, now=now)
        self.released = {}  # (lineage, round) to times
        self.held = {}  # lineage to reservation, as its run knows it

    @initialize(filter_name=st.sampled_from(["gdp", "rdp", "either"]))
    def create(self, filter_name):
        budget = lifetime_budget(1.0, 1e-5, filter_name=filter_name)
        create_ledger(self.path, budget, if_opened=WIDE, cohort="c", unit="record", now=now)

    def _do(self, operation, crash):
        """The operation's answer; None if it crashed: as much of the line as ``crash`` says is on the disk."""
        before, counter = self.path.read_bytes(), counter_path(self.path).read_bytes()
        answer = operation()
        if crash is None:
            return answer
        after = self.path.read_bytes()
        kept = len(before) + round(crash * (len(after) - len(before)))
        self.path.write_bytes(after[:kept])
        counter_path(self.path).write_bytes(counter)
        self.ledger, self.held = LifetimeLedger(self.path, now=now), {}
        return None

    crashes = st.one_of(st.none(), st.none(), st.floats(0, 1))
    lineages = st.sampled_from(["r", "s", "t"])

    @rule(lineage=lineages, count=st.integers(1, 40), crash=crashes)
    def reserve(self, lineage, count, crash):
        releases = (training(count, noise=20.0),)
        try:
            answer = self._do(lambda: reserve(self.ledger, lineage, releases), crash)
        except PrivacyError:  # it does not fit, or the run holds another
            return
        if answer is not None:
            self.held[lineage] = answer

    @rule(lineage=lineages, number=st.integers(1, 6), crash=crashes)
    def release(self, lineage, number, crash):
        if lineage not in self.held:
            return
        try:
            fresh = self._do(
                lambda: self.ledger.commit(self.held[lineage], name=f"round {number}", release=training(noise=20.0)),
                crash,
            )
        except PrivacyError:  # more than was reserved
            return
        if fresh:
            self.released[lineage, number] = self.released.get((lineage, number), 0) + 1

    @rule(crash=crashes)
    def give_all_back(self, crash):
        for reservation in self.ledger.account().reservations:
            if reservation.is_open:
                self._do(lambda held=reservation.id: self.ledger.give_back(held), crash)
                self.held.pop(reservation.reserved.lineage, None)
                return

    @invariant()
    def never_under_counts_nor_overspends(self):
        if not self.path.exists():
            return
        account = LifetimeLedger(self.path, now=now).account()
        assert sum(self.released.values()) <= steps(account.spent) <= steps(account.charged)
        assert all(times == 1 for times in self.released.values())
        assert all(limit.holds for limit in account.limits())
        open_lineages = [r.reserved.lineage for r in account.reservations if r.is_open]
        assert len(open_lineages) == len(set(open_lineages))

    def teardown(self):
        self.folder.cleanup()


AnyOrderWithCrashes.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestAnyOrderWithCrashes = AnyOrderWithCrashes.TestCase
