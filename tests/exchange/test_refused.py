"""Whoever is refused is told why, and a run that is on meanwhile is not disturbed."""

import dataclasses
import functools
import socket
import threading
from datetime import timedelta

import grpc
import pytest

from fedjoint.errors import FedjointError, IdentityError
from fedjoint.exchange import process
from fedjoint.identity.certificates import NodeKey, issue_certificate, make_authority
from fedjoint.identity.invitation import write_invitation
from fedjoint.node.credentials import connect, credentials_of
from fedjoint.node.home import Home
from fedjoint.node.settings import NodeSettings
from fedjoint.runs.report import read_report
from fedjoint.runs.verify import verify_run
from fedjoint.training.plan import Parcel
from fedjoint.transport.link import framing as link
from fedjoint.transport.link import link_pb2 as wire
from fedjoint.transport.link.settings import LinkSettings
from fedjoint.transport.services import exchange_pb2 as api
from fedjoint.transport.services.protocol import ROLES, SERVICE
from tests.exchange.conftest import nodes, now
from tests.exchange.test_exchange import signed, start_run
from tests.fakes import SIZES
from tests.network import node
from tests.node.conftest import fedjoint, join
from tests.transport.link.test_link import RawStream, hello

ROUNDS = 12


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """The exchange waits a second, not ten, for a hello."""
    monkeypatch.setattr(process, "LinkSettings", functools.partial(LinkSettings, hello_s=1.0))


class Outside:
    """Whoever would get in, beside three honest holders."""

    def __init__(self, exchange, homes, folder):
        self.exchange, self.homes, self.folder = exchange, homes, folder
        self.authority = exchange.home.load_authority()
        self.member = credentials_of(homes[0], homes[0].load_membership(), NodeSettings())

    def credentials(self, party, *, authority=None, at=None, days=30):
        key = NodeKey.generate()
        issuer, moment = authority or self.authority, at or now()
        pem = issue_certificate(issuer, key.request(party), party=party, role="holder", now=moment, days=days)
        return dataclasses.replace(self.member, key_pem=key.pem, certificate_pem=pem)

    def linked(self, credentials):
        """What a node's link ends with."""
        with node(self.exchange.port, credentials, bytes) as running:
            return running.wait_failed()

    @property
    def idle(self):
        """Credentials of a registered holder that has nothing to do with the run."""
        home = Home(self.folder / "ghent")
        if not home.folder.exists():
            join(new_home(home.folder, "ghent"), self.exchange)
        return credentials_of(home, home.load_membership(), NodeSettings())

    def codes(self, tls, *methods):
        """The statuses with which calls end."""
        found = set()
        with grpc.secure_channel(f"localhost:{self.exchange.port}", tls) as channel:
            for method in methods:
                with pytest.raises(grpc.RpcError) as problem:
                    channel.unary_unary(method)(b"", timeout=5)
                found.add(problem.value.code())
        return found


def new_home(folder, party):
    fedjoint("init", folder, "--id", party, "--name", party.title())
    return Home(folder)


def an_unregistered_node(outside):
    raise outside.linked(outside.credentials("ahus"))  # signed by the authority, and in none of the exchange's books


def a_revoked_certificate(outside):
    home = new_home(outside.folder / "delft", "delft")
    join(home, outside.exchange)
    gone = credentials_of(home, home.load_membership(), NodeSettings())
    fedjoint("leave", "--yes", "--home", home.folder)
    raise outside.linked(gone)


def an_expired_certificate(outside):
    raise outside.linked(outside.credentials("ahus", at=now() - timedelta(days=60)))


def a_certificate_of_another_authority(outside):
    raise outside.linked(outside.credentials("ahus", authority=make_authority("Somebody else", now=now())))


def a_replayed_join_token(outside):
    write_invitation(outside.exchange.invite("essen"), outside.folder / "stolen")
    for name in ("essen", "thief"):
        home = new_home(outside.folder / name, "essen")
        words = ["--invite", outside.folder / "stolen", "--home", home.folder]
        fedjoint("join", f"localhost:{outside.exchange.port}", *words)


def a_signature_under_another_agreement(outside):
    identity = outside.homes[0].load_identity()
    (found,) = outside.exchange.store.agreements.all()
    with connect(outside.homes[0], NodeSettings()) as client:
        client.sign(found.agreement.sha256, identity.sign("agreement", b"another agreement"))


def a_holder_that_proposes(outside):
    with connect(outside.homes[0], NodeSettings()) as client:
        client.propose(api.ProposeRequest(overrides=["privacy=none"], dataset="study", reference=b"x0\n1\n"))


NAMED = {
    a_holder_that_proposes: (IdentityError, "a certificate of role 'holder' may not ask for Propose"),
    an_unregistered_node: (IdentityError, "is of no registered node"),
    a_revoked_certificate: (IdentityError, "'delft' was revoked"),
    an_expired_certificate: (IdentityError, "'ahus' expired on"),
    a_certificate_of_another_authority: (IdentityError, "was not signed by this exchange"),
    a_replayed_join_token: (IdentityError, "a replayed join token"),
    a_signature_under_another_agreement: (FedjointError, "the signature for 'agreement' is not that of 'ahus'"),
}


def no_certificate(outside):
    """Every method, and the link."""
    tls = grpc.ssl_channel_credentials(outside.authority.pem)
    methods = [f"/{SERVICE}/{name}" for name in ROLES] + [
        f"/{link.SERVICE}/{link.METHOD}",
        "/grpc.health.v1.Health/Check",
    ]
    return outside.codes(tls, *methods)


def a_method_for_others(outside):
    """A holder's certificate on the methods for the invited and for operators."""
    own = outside.member
    tls = grpc.ssl_channel_credentials(own.authority_pem, own.key_pem, own.certificate_pem)
    return outside.codes(tls, *(f"/{SERVICE}/{name}" for name, roles in ROLES.items() if "holder" not in roles))


def junk_of_100_mb(outside):
    """Of a registered holder, in frames of the link."""
    stream = RawStream(outside.exchange.port, outside.idle)
    stream.send(hello())
    for _ in range(100):
        stream.send(wire.Frame(chunk=bytes(1 << 20)))
    return {stream.code()}


def a_slow_loris(outside):
    """Before TLS: it is cut off after a while; within a link: it never says hello."""
    silent = socket.create_connection(("127.0.0.1", outside.exchange.port), timeout=30)
    stream = RawStream(outside.exchange.port, outside.idle)
    with silent:
        code = stream.code()
        assert silent.recv(1) == b""
    return {code}


CODED = {
    no_certificate: grpc.StatusCode.UNAVAILABLE,
    a_method_for_others: grpc.StatusCode.PERMISSION_DENIED,
    junk_of_100_mb: grpc.StatusCode.INVALID_ARGUMENT,
    a_slow_loris: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Unhurried:
    """A holder's node that takes so long for a round that there is a run to disturb."""

    def __init__(self, holders, refused):
        self.holders, self.refused = holders, refused

    def answer(self, kind, parcel):
        if kind == "train" and parcel.body.round == ROUNDS:
            assert self.refused.wait(60)
        return self.holders.answer(kind, parcel)


def test_each_is_refused_by_name_while_a_run_goes_on_undisturbed(exchange, homes, tmp_path):
    refused, outside = threading.Event(), Outside(exchange, homes, tmp_path)
    sha256 = signed(exchange, homes, f"training.rounds={ROUNDS}")
    with nodes(exchange, homes, wrap=lambda _, holders: Unhurried(holders, refused)):
        start_run(exchange, sha256)
        exchange.until(lambda: exchange.store.runs.all()[0].round >= 1)
        for attempt, (kind, words) in NAMED.items():
            with pytest.raises(kind, match=words):
                attempt(outside)
        for attempt, code in CODED.items():
            assert attempt(outside) == {code}, attempt.__name__
        assert not exchange.store.runs.all()[0].ended_at, "there was no run to disturb"
        refused.set()
        run = exchange.ended()
    assert (run.state, run.words) == ("finished", "all agreed rounds were trained")
    report = read_report(exchange.home.runs / run.name / "report.json")
    assert [one.contributors for one in report.rounds] == [tuple(SIZES)] * ROUNDS
    assert {check.outcome for check in verify_run(exchange.home.runs / run.name)} == {"passed"}


class Elsewhere:
    """A holder's node that works under another agreement than the run's."""

    def __init__(self, holders):
        self.holders = holders

    def answer(self, kind, parcel):
        body = dataclasses.replace(parcel.body, agreement_sha256="ab" * 32)
        return self.holders.answer(kind, Parcel(body=body, blobs=parcel.blobs))


def test_a_holder_of_another_agreement_is_left_out_by_name(exchange, homes):
    sha256 = signed(exchange, homes)
    with nodes(exchange, homes, wrap=lambda name, holders: Elsewhere(holders) if name == "ahus" else holders):
        start_run(exchange, sha256)
        run = exchange.ended()
    report = read_report(exchange.home.runs / run.name / "report.json")
    assert {one.contributors for one in report.rounds} == {("bern", "cork")}
    record = (exchange.home.runs / run.name / "record.jsonl").read_text()
    assert '"ahus":"agreement.' in record
