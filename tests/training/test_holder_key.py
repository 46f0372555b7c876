"""A holder with a folder of its own: its key outlives its process, and not its run."""

import os
import signal

import pytest

from fedjoint.encryption.opened import ToOpen
from fedjoint.errors import AgreementError, EncryptionError, Equivocation, TrainingError
from fedjoint.training.holder import Holder
from fedjoint.training.holder_run import HolderRun
from fedjoint.training.plan import ConfirmTask, Parcel, ReleaseTask, RoundTask, Task
from fedjoint.training.workplace import Workplace
from tests.fakes import ANYTHING, LOCAL_PRIVACY, DirectChannel, begin, complete, make_consortium, open_contributions

ALL = ("ahus", "bern", "cork")


def at(folder):
    return Workplace(folder=folder)


class Restarted:
    """A consortium whose holder bern has a folder, and may begin anew."""

    def __init__(self, folder, **agreed):
        self.parties, self.folder = make_consortium(**agreed), folder
        self.begin_anew()
        self.parties.holders["bern"].sign(self.parties.terms)

    def begin_anew(self):
        """Another process of bern's, as far as files tell: it has signed nothing and knows of no run."""
        parties = self.parties
        if old := parties.holders.get("bern"):
            old.close()
        new = Holder(parties.identities["bern"], parties.records["bern"], ANYTHING, workplace=at(self.folder))
        parties.holders["bern"] = new

    def join_again(self):
        parties = self.parties
        parties.holders["bern"].sign(parties.terms)
        agreement = {"agreement": parties.agreement.to_bytes()}
        parties.holders["bern"].answer("join", Parcel(body=parties.task(), blobs=agreement))


def files(folder):
    return sorted((path.suffix, oct(path.stat().st_mode & 0o777)) for path in folder.iterdir())


def test_the_key_is_kept_for_the_run_and_erased_at_its_end(tmp_path):
    restarted = Restarted(tmp_path)
    run = complete(restarted.parties)
    assert files(tmp_path) == [(".key", "0o600"), (".run", "0o600")]
    run.coordinator.finish()
    assert files(tmp_path) == [(".run", "0o600")]
    with pytest.raises(EncryptionError, match="was wiped"):
        restarted.parties.secret_key("bern").coefficients()


@pytest.mark.parametrize("privacy", [{}, {"privacy": LOCAL_PRIVACY}])
def test_a_holder_that_begins_anew_in_mid_run_goes_on_with_the_key_it_had(tmp_path, privacy):
    restarted = Restarted(tmp_path, rounds=4, **privacy)
    parties = restarted.parties
    channel = DirectChannel(holders=parties.holders)
    run = begin(parties, channel)
    run.coordinator.prepare()
    for summary in run.coordinator.rounds():
        run.models.append(run.coordinator.model)
        run.rounds.append(summary)
        if summary.round == 1:
            restarted.begin_anew()
            restarted.join_again()
    # asked for round 3 it has no model yet, and is sent one with the next sum
    assert run.contributors == [ALL, ALL, ("ahus", "cork"), ALL]
    if privacy:
        charged = [summary.receipts["bern"].epsilon for summary in (run.rounds[1], run.rounds[3])]
        assert charged == pytest.approx([2.053, 2.629], abs=1e-3)
    assert len(open_contributions(parties, run, channel).openers) == 2


def test_whoever_begins_anew_trains_no_round_again_and_confirms_no_second_sum(tmp_path):
    restarted = Restarted(tmp_path)
    parties = restarted.parties
    begin(parties, DirectChannel(holders=parties.holders)).coordinator.prepare()

    def train(number):
        parties.holders["bern"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=number)))

    def confirm(digest):
        subject = ToOpen(slot=1, contributors=ALL, sha256=digest * 32)
        return parties.holders["bern"].answer(
            "confirm", Parcel(body=ConfirmTask(**parties.session.address, subject=subject))
        )

    train(1)
    said = confirm("ab")
    restarted.begin_anew()
    restarted.join_again()
    with pytest.raises(TrainingError, match="round 1 after round 1"):
        train(1)
    with pytest.raises(Equivocation):
        confirm("cd")
    assert confirm("ab") == said
    metrics = ReleaseTask(**parties.session.address, purpose="metrics")
    with pytest.raises(TrainingError, match="does not know which records it had kept out"):
        parties.holders["bern"].answer("release", Parcel(body=metrics))


def test_a_run_that_is_over_is_not_begun_again_and_no_other_under_its_agreement(tmp_path):
    restarted = Restarted(tmp_path)
    parties = restarted.parties
    complete(parties).coordinator.finish()
    restarted.begin_anew()
    restarted.join_again()
    with pytest.raises(TrainingError, match="is over"):
        parties.holders["bern"].answer("make_key", Parcel(body=parties.task()))
    other = parties.next_run()
    task = Parcel(body=Task(**other.address), blobs={"agreement": parties.agreement.to_bytes()})
    with pytest.raises(AgreementError, match=f"was run before, as {parties.session.run_id}"):
        parties.holders["bern"].answer("join", task)


def test_a_key_in_use_or_of_a_damaged_file_is_refused(tmp_path):
    restarted = Restarted(tmp_path)
    parties = restarted.parties
    begin(parties, DirectChannel(holders=parties.holders)).coordinator.prepare()
    again = parties.identities["bern"], parties.records["bern"], parties.session
    with pytest.raises(EncryptionError, match="is in use"):
        HolderRun(*again, workplace=at(tmp_path))
    parties.holders["bern"].close()
    (key,) = tmp_path.glob("*.key")
    key.write_text("key")
    with pytest.raises(EncryptionError, match="is no key file"):
        HolderRun(*again, workplace=at(tmp_path))


def killed(work):
    """Do something in a process of its own, which has to end by SIGKILL."""
    process = os.fork()
    if not process:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_a_holder_killed_while_it_encrypts_has_its_key_and_does_not_encrypt_that_round_again(tmp_path):
    parties = make_consortium()
    who = parties.identities["bern"], parties.records["bern"], parties.session

    def train_and_die():
        run = HolderRun(
            *who, workplace=Workplace(folder=tmp_path, hears=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        )
        run.make_key()
        run.train(RoundTask(**parties.session.address, round=1), {})

    killed(train_and_die)
    assert files(tmp_path) == [(".key", "0o600"), (".run", "0o600")]  # and no half of a frame
    run = HolderRun(*who, workplace=at(tmp_path))
    with pytest.raises(TrainingError, match="round 1 after round 1"):
        run.train(RoundTask(**parties.session.address, round=1), {})
    run.finish()
    assert files(tmp_path) == [(".run", "0o600")]
