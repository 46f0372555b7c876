"""The operator's commands that need no holder: make an exchange, invite, show, renew, back up, restore."""

import json
import stat

import pytest
from click.testing import CliRunner

from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.cli.main import cli
from fedjoint.errors import AgreementError, ConfigError, IdentityError, PoolError
from fedjoint.exchange.home import open_home
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.identity.certificates import fingerprint_of, read_certificate
from fedjoint.identity.invitation import read_invitation
from fedjoint.identity.keys import Identity
from tests.fakes import SIZES, examples, make_terms


def fedjoint(*arguments):
    """A command in this process; its output."""
    result = CliRunner().invoke(cli, ["exchange", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "exchange"
    told = fedjoint("init", folder, "--name", "Test exchange", "--host", "localhost:8443")
    assert fingerprint_of(open_home(folder).load_authority().pem) in told
    return open_home(folder)


def test_a_password_on_the_command_line_is_refused_and_nothing_is_made(tmp_path):
    with pytest.raises(PoolError, match="every user of this machine can read"):
        fedjoint("init", tmp_path / "e", "--name", "E", "--host", "h:1", "--database-url", "postgresql://u:p@host/db")
    assert list(tmp_path.iterdir()) == []


def test_an_invitation_is_a_secret_file_and_the_database_has_no_token(home, tmp_path):
    told = fedjoint("invite", "ahus", "--name", "Ahus", "--out", tmp_path / "invitation", "--home", home.folder)
    assert "Fingerprint to compare by telephone" in told
    invitation = read_invitation(tmp_path / "invitation")
    assert (invitation.party, invitation.exchange) == ("ahus", "localhost:8443")
    assert stat.S_IMODE((tmp_path / "invitation").stat().st_mode) == 0o600
    assert read_certificate(invitation.certificate.encode()).role == "invited"
    for path in home.folder.rglob("*"):
        assert path.is_dir() or invitation.token.encode() not in path.read_bytes(), path
    with pytest.raises(IdentityError, match="exists"):
        fedjoint("invite", "ahus", "--name", "Ahus", "--out", tmp_path / "invitation", "--home", home.folder)
    serial = read_certificate(invitation.certificate.encode()).serial
    with ExchangeStore.open(f"sqlite:///{home.database}") as store:
        store.members.require_invited(serial, at="2026-01-01T00:00:00.000Z")  # it was not withdrawn by the try


def agreed(home):
    """An agreement in the exchange's database that every holder has yet to sign; its hash, and how each would."""
    coordinator = home.load_identity()
    holders = {holder: Identity.create(holder, holder) for holder in SIZES}
    terms = make_terms(coordinator, holders, SIZES, examples(60, seed=99))
    sha256 = terms_sha256(terms)
    signatures = {coordinator.id: sign_terms(terms, coordinator)}
    with ExchangeStore.open(f"sqlite:///{home.database}") as store:
        store.agreements.propose(SignedAgreement(terms=terms, sha256=sha256, signatures=signatures), at="2026-01-01")
    return sha256, {holder: sign_terms(terms, identity) for holder, identity in holders.items()}


def test_an_agreement_is_shown_by_the_first_digits_of_its_hash(home):
    sha256, _ = agreed(home)
    assert json.loads(fedjoint("show", sha256[:10], "--home", home.folder))["sha256"] == sha256
    assert "unsigned by ahus, bern, cork" in fedjoint("agreements", "--home", home.folder)
    with pytest.raises(AgreementError, match="there is no agreement 0000"):
        fedjoint("show", "0000", "--home", home.folder)


def test_a_run_says_what_it_will_cost_before_it_is_queued(home):
    sha256, signatures = agreed(home)
    with ExchangeStore.open(f"sqlite:///{home.database}") as store:
        for holder, signature in signatures.items():
            store.agreements.sign(sha256, holder, signature, at="2026-01-01")
    told = fedjoint("run", sha256[:10], "--revenue", "1000.00", "--home", home.folder)
    costs, _, queued = told.rpartition("Queued run")
    assert "Each round and holder: " in costs and "On this machine: encrypt " in costs and queued


def test_a_renewal_and_a_backup_and_what_it_restores(home, tmp_path):
    assert "Certificate renewed until" in fedjoint("renew", "--home", home.folder)
    assert "has the exchange's keys" in fedjoint("backup", tmp_path / "backup", "--home", home.folder)
    assert "Restored" in fedjoint("restore", tmp_path / "backup", tmp_path / "again")
    assert open_home(tmp_path / "again").load_identity().public == home.load_identity().public


def test_a_folder_that_is_no_exchange_is_named(tmp_path):
    for command in (("status",), ("revoke", "ahus"), ("stop",)):
        with pytest.raises(ConfigError, match="is no exchange's folder"):
            fedjoint(*command, "--home", tmp_path)
    with pytest.raises(IdentityError, match="there is no party 'ahus'"):
        fedjoint("init", tmp_path / "e", "--name", "E", "--host", "h:1")
        fedjoint("revoke", "ahus", "--home", tmp_path / "e")
