"""From an empty folder to statements: a real exchange and real holders' folders on loopback, by their commands."""

import dataclasses
import functools
import json
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest
from click.testing import CliRunner
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

from fedjoint.agreement.signing import read_agreement
from fedjoint.cli.main import cli
from fedjoint.errors import AgreementError, DataError, IdentityError, TrainingError, TransportError
from fedjoint.exchange.process import serve
from fedjoint.identity.invitation import write_invitation
from fedjoint.node.credentials import connect, credentials_of
from fedjoint.node.settings import NodeSettings
from fedjoint.node.witnessing import Watch
from fedjoint.runs.report import read_report
from fedjoint.runs.verify import verify_run
from fedjoint.training.plan import Parcel, Task
from fedjoint.transport.grpc_grid import make_answer
from tests.exchange.conftest import Exchange, joined, nodes, now, settings
from tests.fakes import SIZES, examples
from tests.network import node
from tests.node.conftest import add_data, allow, fedjoint, join, make_home
from tests.pool.conftest import postgres, postgres_url, url  # noqa: F401


def command(exchange, verb, *arguments):
    """An operator's command, in this process; its output."""
    line = ["exchange", verb, *map(str, arguments)]
    result = CliRunner().invoke(cli, [*line, "--home", str(exchange.home.folder)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def propose(exchange, folder, *overrides):
    reference = folder / "reference.csv"
    records = examples(60, seed=99)
    rows = [
        ",".join(map(repr, map(float, row))) + f",{['no', 'yes'][int(target)]}"
        for row, target in zip(records.features, records.targets, strict=True)
    ]
    reference.write_text("\n".join(["x0,x1,x2,ill", *rows]) + "\n")
    settings = ["privacy=none", "training.rounds=3", *overrides]
    told = command(exchange, "propose", *settings, "--dataset", "study", "--reference", reference, "--json")
    return json.loads(told)["sha256"]


def signed(exchange, homes, *overrides):
    sha256 = propose(exchange, homes[0].folder.parent, *overrides)
    for home in homes:
        fedjoint("sign", sha256[:12], "--yes", "--home", home.folder)
    return sha256


def start_run(exchange, sha256):
    return json.loads(command(exchange, "run", sha256[:12], "--revenue", "1000.00", "--json"))


@settings(witness_timeout_s=30.0)
def test_holders_enrol_sign_train_countersign_and_fetch_their_statements(exchange, homes):
    sha256 = signed(exchange, homes)
    watches = [Watch(home, home.load_identity(), home.load_membership().exchange) for home in homes]
    with ExitStack() as stack, nodes(exchange, homes):
        clients = [stack.enter_context(connect(home, NodeSettings())) for home in homes]
        entry = start_run(exchange, sha256)
        while not exchange.store.runs.all()[0].ended_at:
            pauses = [watch.once(client) for watch, client in zip(watches, clients, strict=True)]
            time.sleep(0.1)
        run = exchange.ended()
    assert max(pauses) <= 5
    assert (run.state, run.round, run.words) == ("finished", 3, "all agreed rounds were trained")
    folder = exchange.home.runs / entry["name"]
    assert {check.outcome for check in verify_run(folder)} == {"passed"}
    record = (folder / "record.jsonl").read_text().splitlines()
    assert set(json.loads(record[-1])["witnesses"]) == set(SIZES)
    report = read_report(folder / "report.json")
    assert sum(holder.payout_minor for holder in report.holders) == report.money.distributed_minor
    for home in homes:
        (statement,) = json.loads(fedjoint("statements", "--json", "--home", home.folder))
        assert statement["run_id"] == run.run_id
        error = statement["contribution_error"]
        assert error["by_sampling"] > 0 and error["numbers"] == 2  # of a model of four parameters
        assert f"by the choice of reference records {error['by_sampling']:.3g}" in fedjoint(
            "statements", "--home", home.folder
        )
    agreed = read_agreement((folder / "agreement.json").read_bytes()).terms
    assert (agreed.valuation.error_numbers, agreed.money.materiality_errors) == (2, "all")
    status = json.loads(command(exchange, "status", "--json"))
    assert status["agreements"][0]["state"] == "finished"
    assert status["serving"]["port"] == exchange.port
    assert "all agreed rounds were trained" in command(exchange, "status")


@pytest.mark.parametrize("privacy", ["none", "local"])
def test_holders_review_and_train_under_an_agreement_that_has_no_reference_set_of_the_exchange(
    exchange, homes, privacy
):
    overrides = ["valuation.reference=holders", f"privacy={privacy}"]
    overrides += [] if privacy == "none" else ["privacy.epsilon=8", "privacy.delta=1e-3"]
    for home in homes if privacy == "local" else ():
        allow(home, "modes: [none]", "modes: [local]")
    sha256 = signed(exchange, homes, *overrides)
    with nodes(exchange, homes):
        entry = start_run(exchange, sha256)
        run = exchange.ended()
    assert run.state == "finished", run.words
    assert {check.outcome for check in verify_run(exchange.home.runs / entry["name"])} == {"passed"}
    (statement,) = json.loads(fedjoint("statements", "--json", "--home", homes[0].folder))
    error = statement["contribution_error"]
    assert error["by_sampling"] is None
    assert (error["by_sampling_at_most"] is None) == (privacy == "none")  # without clipping nothing bounds it
    words = fedjoint("statements", "--home", homes[0].folder)
    assert "by the choice of reference records " + ("not measured" if privacy == "none" else "at most ") in words


@settings(task_timeout_s=4.0)
def test_a_hung_a_crashed_and_a_rubbish_holder_end_no_run_and_spoil_no_sum(exchange, homes):
    class Broken:
        """The second holder hangs in round 2; the third fails in round 3, and in round 4 sends rubbish."""

        def __init__(self, name, holders):
            self.name, self.holders, self.rounds = name, holders, 0

        def answer(self, kind, parcel):
            self.rounds += kind == "train"
            if kind == "train" and (self.name, self.rounds) == ("bern", 2):
                time.sleep(5)
            if kind == "train" and (self.name, self.rounds) == ("cork", 3):
                raise MemoryError("row 17")
            if kind == "train" and (self.name, self.rounds) == ("cork", 4):
                return Parcel(
                    body=Task(agreement_sha256=parcel.body.agreement_sha256, run_id=parcel.body.run_id),
                    blobs={"frame": np.zeros(4).tobytes()},
                )
            return self.holders.answer(kind, parcel)

    sha256 = signed(exchange, homes, "training.rounds=5")
    with nodes(exchange, homes, wrap=Broken):
        start_run(exchange, sha256)
        run = exchange.ended()
    assert (run.state, run.round) == ("finished", 5)
    stragglers = json.loads(run.stragglers)
    assert stragglers["bern"]["code"] == "holder.silent"
    assert stragglers["cork"] == {"missed": 2, "last_round": 4, "code": "reply.malformed"}
    report = read_report(exchange.home.runs / run.name / "report.json")
    assert report.rounds[-1].contributors == tuple(SIZES)
    assert "bern missed" in command(exchange, "status")


def test_a_run_goes_on_where_the_exchange_was_stopped_on_either_database(tmp_path, url):  # noqa: F811
    exchange = Exchange(tmp_path / "exchange", database_url=url)
    with ExitStack() as later:
        with exchange.serving():
            exchange.settings = dataclasses.replace(exchange.settings, listen=f"127.0.0.1:{exchange.port}")
            homes = joined(tmp_path, exchange)
            sha256 = signed(exchange, homes, "training.rounds=8")
            stopped_once = threading.Event()
            waits = functools.partial(Waits, until=stopped_once)
            later.enter_context(nodes(exchange, homes, wrap=waits))
            start_run(exchange, sha256)
            exchange.until(lambda: exchange.store.runs.all()[0].round >= 2)
        (stopped,) = exchange.store.runs.all()
        assert stopped.state == "running" and stopped.round < 8
        stopped_once.set()
        with exchange.serving():
            run = exchange.ended()
            (statement,) = json.loads(fedjoint("statements", "--json", "--home", homes[0].folder))
    assert statement["run_id"] == run.run_id
    assert (run.state, run.round, run.started_at) == ("finished", 8, stopped.started_at)
    folder = exchange.home.runs / run.name
    assert {check.outcome for check in verify_run(folder)} == {"passed"}
    assert [one.contributors for one in read_report(folder / "report.json").rounds] == [tuple(SIZES)] * 8
    assert list(exchange.home.work.iterdir()) == []
    exchange.store.close()


class Waits:
    """Trains three rounds, and the others when it is told to go on."""

    def __init__(self, name, holders, *, until):
        self.holders, self.until, self.rounds = holders, until, 0

    def answer(self, kind, parcel):
        self.rounds += kind == "train"
        if kind == "train" and self.rounds > 3:
            assert self.until.wait(60)
        return self.holders.answer(kind, parcel)


@settings(task_timeout_s=0.5)
def test_a_run_without_enough_holders_fails_in_words_and_the_exchange_goes_on(exchange, homes):
    sha256 = signed(exchange, homes)
    start_run(exchange, sha256)
    run = exchange.ended()
    assert run.state == "failed" and "take part" in run.words
    assert not list(exchange.home.runs.iterdir())
    with connect(homes[0], NodeSettings()) as client:
        (summary,) = client.run_status().runs
    assert summary.state == "failed"


def test_a_revoked_holder_is_cut_off_at_once_and_nobody_else(exchange, homes):
    first, second = homes[:2]
    with idle(exchange, first) as gone, idle(exchange, second):
        exchange.until(lambda: connected(exchange) == {"ahus", "bern"})
        command(exchange, "revoke", "ahus", "--reason", "a lost laptop")
        assert isinstance(gone.wait_failed(), IdentityError)
        exchange.until(lambda: connected(exchange) == {"bern"})
    with connect(first, NodeSettings()) as client, pytest.raises(IdentityError, match="was revoked at"):
        client.agreements()
    with connect(second, NodeSettings()) as client:
        client.agreements()


def idle(exchange, home):
    """A holder's node that gets no task."""
    return node(exchange.port, credentials_of(home, home.load_membership(), NodeSettings()), bytes)


def connected(exchange):
    status = json.loads(command(exchange, "status", "--json"))
    return {party["id"] for party in status["parties"] if party["connected"]}


def test_a_replayed_token_is_refused_and_the_first_holder_stays(exchange, tmp_path):
    invitation = exchange.invite("ahus")
    home, thief = make_home(tmp_path, "ahus"), make_home(tmp_path / "thief", "ahus")
    write_invitation(invitation, tmp_path / "stolen")
    fedjoint("join", f"localhost:{exchange.port}", "--invite", tmp_path / "stolen", "--home", home.folder)
    with pytest.raises(IdentityError, match="a replayed join token"):
        fedjoint("join", f"localhost:{exchange.port}", "--invite", tmp_path / "stolen", "--home", thief.folder)
    with connect(home, NodeSettings()) as client:
        assert not client.agreements().agreements


def test_an_enrolment_whose_reply_was_lost_gives_the_same_certificate_again(exchange, tmp_path):
    home = make_home(tmp_path, "ahus")
    join(home, exchange)
    first = home.tls.read_bytes()
    home.joined.unlink()
    fedjoint(
        "join", f"localhost:{exchange.port}", "--invite", home.folder.with_suffix(".invitation"), "--home", home.folder
    )
    assert home.tls.read_bytes() == first


def test_another_partys_or_an_expired_or_a_withdrawn_invitation_is_refused(exchange, tmp_path):
    home = make_home(tmp_path, "ahus")
    with pytest.raises(IdentityError, match="not that of this invitation"):
        join(home, exchange, token="x" * 43)
    old = exchange.invite("ahus")
    exchange.invite("ahus")
    write_invitation(old, tmp_path / "old")
    with pytest.raises(IdentityError, match="was withdrawn"):
        fedjoint("join", f"localhost:{exchange.port}", "--invite", tmp_path / "old", "--home", home.folder)


def test_who_has_left_is_no_member_and_may_be_invited_again(exchange, tmp_path):
    home = make_home(tmp_path, "ahus")
    join(home, exchange)
    with connect(home, NodeSettings()) as client:
        client.agreements()
        fedjoint("leave", "--yes", "--home", home.folder)
        with pytest.raises(IdentityError, match="revoked"):
            client.agreements()
    assert exchange.store.members.all()[0].state == "left"
    exchange.invite("ahus")


def test_a_holder_sees_only_agreements_that_name_it_and_signs_once_for_all(exchange, homes, tmp_path):
    sha256 = propose(exchange, tmp_path)
    with connect(homes[0], NodeSettings()) as client:
        with pytest.raises(AgreementError, match="there is no agreement"):
            client.get_agreement("0" * 64)
        with pytest.raises(AgreementError):
            client.sign(sha256, "0" * 128)
        client.decline(sha256, "too many rounds")
    with pytest.raises(AgreementError, match="declined"):
        fedjoint("sign", sha256[:12], "--yes", "--home", homes[1].folder)
    assert "declined by ahus: too many rounds" in command(exchange, "agreements")


@settings(task_timeout_s=30.0)
def test_a_run_needs_all_signatures_and_an_agreement_is_run_once(exchange, homes):
    sha256 = propose(exchange, homes[0].folder.parent)
    with pytest.raises(AgreementError, match="lacks the signature of ahus"):
        start_run(exchange, sha256)
    for home in homes:
        fedjoint("sign", sha256[:12], "--yes", "--home", home.folder)
    start_run(exchange, sha256)
    with pytest.raises(TrainingError, match="has a run already"):
        start_run(exchange, sha256)


def test_an_exchange_that_has_no_errors_opened_agrees_that_only_those_by_noise_count(exchange, homes):
    sha256 = propose(exchange, homes[0].folder.parent, "valuation.error_numbers=0")
    terms = exchange.store.agreements.get(sha256).agreement.terms
    assert (terms.valuation.error_numbers, terms.money.materiality_errors) == (0, "noise")


def test_a_proposal_needs_two_holders_with_one_schema(exchange, homes, tmp_path):
    with pytest.raises(DataError, match="registered of 0 holders"):
        command(exchange, "propose", "privacy=none", "--dataset", "other", "--reference", tmp_path / "ahus.csv")
    text = (tmp_path / "schema.yaml").read_text()
    (tmp_path / "schema.yaml").write_text(text.replace("name: x0", "name: x0\n  scale: 2.0"))
    add_data(homes[0], "--name", "study2")
    (tmp_path / "schema.yaml").write_text(text)
    add_data(homes[1], "--name", "study2")
    with pytest.raises(DataError, match="schemas differ"):
        command(exchange, "propose", "privacy=none", "--dataset", "study2", "--reference", tmp_path / "ahus.csv")


def test_a_stock_client_that_sends_its_update_in_the_clear_is_left_out(exchange, homes):
    def stock(message):
        arrays = ArrayRecord([np.ones((2, 2), dtype=np.float32)])
        return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 40})}), reply_to=message)

    sha256, home = signed(exchange, homes), homes[0]
    credentials = credentials_of(home, home.load_membership(), NodeSettings())
    with nodes(exchange, homes[1:]), node(exchange.port, credentials, make_answer(stock)):
        start_run(exchange, sha256)
        run = exchange.ended()
    report = read_report(exchange.home.runs / run.name / "report.json")
    assert {one.contributors for one in report.rounds} == {("bern", "cork")}
    record = (exchange.home.runs / run.name / "record.jsonl").read_text()
    assert '"ahus":"reply.malformed"' in record


def test_two_processes_never_serve_one_folder(exchange):
    with pytest.raises(TransportError, match="another process serves"):
        serve(exchange.home, exchange.settings, stop=exchange.stop, now=now)


def test_an_operators_stop_ends_the_process_in_peace(exchange):
    command(exchange, "stop")
    assert exchange.stop.wait(10)
    exchange.until(lambda: json.loads(command(exchange, "status", "--json"))["serving"] is None)
