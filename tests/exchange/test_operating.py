"""An operator at another machine: proposes what the local command would, sees the status, and can do nothing else."""

import json
import stat
from datetime import timedelta

import pytest
from click.testing import CliRunner

from fedjoint.cli.exchange_desk import _as_csv
from fedjoint.cli.main import cli
from fedjoint.data.sources import parse_csv
from fedjoint.errors import ConfigError, DataError, IdentityError
from fedjoint.exchange.certification import Gate
from fedjoint.exchange.operating import remote_config, remote_reference
from fedjoint.identity.operator_file import OperatorFile, read_operator_file, write_operator_file
from fedjoint.transport.services.protocol import MAX_REFERENCE_BYTES
from tests.exchange.conftest import now
from tests.exchange.test_exchange import command, propose


@pytest.fixture
def operator(exchange, tmp_path):
    """The file of an operator of the exchange that serves."""
    command(exchange, "operator", "anna", "--name", "Anna Berg", "--out", tmp_path / "anna")
    return tmp_path / "anna"


def afar(exchange, operator, verb, *arguments):
    """An operator's command; its output."""
    line = ["exchange", verb, *map(str, arguments), "--operator", str(operator), "--at", f"localhost:{exchange.port}"]
    result = CliRunner().invoke(cli, line, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_a_proposal_from_afar_is_the_local_one_to_the_last_digit(exchange, homes, operator, tmp_path):
    wanted = ["--dataset", "study", "--reference", tmp_path / "reference.csv", "--json"]
    here = propose(exchange, tmp_path)
    there = json.loads(afar(exchange, operator, "propose", "privacy=none", "training.rounds=3", *wanted))
    assert there == {"sha256": here, "unsigned_by": ["ahus", "bern", "cork"]}
    other = json.loads(afar(exchange, operator, "propose", "privacy=none", "training.rounds=4", *wanted))
    again = json.loads(afar(exchange, operator, "propose", "privacy=none", "training.rounds=4", *wanted))
    assert other == again != there
    status = json.loads(afar(exchange, operator, "status", "--json"))
    assert [one["sha256"] for one in status["agreements"]] == [here, other["sha256"]]
    local = json.loads(command(exchange, "status", "--json"))
    assert {**status, "serving": None, "parties": None} == {**local, "serving": None, "parties": None}
    with pytest.raises(ConfigError, match=r"'model\.code=x\.py' is not taken over the network"):
        afar(exchange, operator, "propose", "model.kind=code", "model.code=x.py", *wanted)
    assert f"Agreement {here[:16]}" in afar(exchange, operator, "status")


def test_an_operators_file_is_a_secret_and_whoever_lost_it_is_let_in_no_more(exchange, operator):
    assert stat.S_IMODE(operator.stat().st_mode) == 0o600
    with pytest.raises(IdentityError, match="exists"):
        command(exchange, "operator", "anna", "--name", "Anna Berg", "--out", operator)
    assert "anna (Anna Berg): operator, until " in afar(exchange, operator, "status")
    assert "Revoked 1 certificate of 'anna'" in command(exchange, "revoke", "anna")
    with pytest.raises(IdentityError, match="'anna' was revoked"):
        afar(exchange, operator, "status")
    assert "anna (Anna Berg): operator, revoked" in command(exchange, "status")


def test_an_expired_operator_is_told_so(exchange, tmp_path):
    long_ago = Gate(
        exchange.home.load_authority(),
        exchange.store.members,
        settings=exchange.settings,
        now=lambda: now() - timedelta(days=400),
    )
    write_operator_file(long_ago.appoint("anna", "Anna Berg"), tmp_path / "old")
    with pytest.raises(IdentityError, match="the certificate of 'anna' expired on"):
        afar(exchange, tmp_path / "old", "status")


def test_an_address_without_an_operators_file_is_refused():
    result = CliRunner().invoke(cli, ["exchange", "status", "--at", "localhost:1"], standalone_mode=False)
    assert isinstance(result.exception, ConfigError)
    assert "without --operator" in str(result.exception)


@pytest.mark.parametrize(
    "override",
    [
        "model.code=/etc/passwd",
        "data.path=/etc/passwd",
        "data=table",
        "run.folder=/tmp",
        "run={folder: /tmp}",
        "++run.registry=pool",
        "~data",
        "title=${oc.env:HOME}",
        "hydra.run.dir=/tmp",
        "title=" + "x" * 1_000,
    ],
)
def test_no_override_from_the_network_reads_what_is_on_the_exchanges_machine(override):
    with pytest.raises(ConfigError, match="is not taken over the network") as problem:
        remote_config([*(["model.kind=code"] if "model" in override else []), override])
    assert "propose on the exchange's machine" in problem.value.remedy


def test_other_overrides_mean_what_they_mean_at_home():
    config = remote_config(
        ["privacy=none", "training.rounds=7", "model=mlp", "title=Eins = Zwei", "data.standardise=private"]
    )
    assert (config.privacy.mode, config.training.rounds, config.model.kind) == ("none", 7, "mlp")
    with pytest.raises(ConfigError, match="201 overrides"):
        remote_config(["seed=1"] * 201)


def test_a_reference_beyond_what_a_message_carries_is_refused_on_both_sides():
    with pytest.raises(DataError, match="a reference table of 1048577 bytes"):
        remote_reference(bytes(MAX_REFERENCE_BYTES + 1))
    table = parse_csv(b"x0\n" + b"0.123456789\n" * 90_000, "reference")
    with pytest.raises(DataError, match="propose on the exchange's machine"):
        _as_csv(table)


def test_a_table_arrives_as_it_was_read():
    table = parse_csv(b'age,"a, b",note\n61,,"two\nlines"\n"",x,"said ""no"""\n', "r")
    again = remote_reference(_as_csv(table))
    assert {name: list(cells) for name, cells in again.columns.items()} == {
        name: list(cells) for name, cells in table.columns.items()
    }


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "fedjoint-invitation-1"}'])
def test_what_is_no_operators_file_is_refused(tmp_path, text):
    path = tmp_path / "anna"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(IdentityError, match="operator's file"):
        read_operator_file(path)


def test_an_operators_file_shows_no_secret():
    found = OperatorFile(operator="a", exchange="h:1", expires_at="x", key="KEY", certificate="C", authority="A")
    assert "KEY" not in repr(found)
