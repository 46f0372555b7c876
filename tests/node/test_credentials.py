"""A node's key and certificate: renewed in time, and never another's."""

from datetime import timedelta

import pytest

from fedjoint.errors import IdentityError
from fedjoint.identity.certificates import read_certificate
from fedjoint.node.credentials import credentials_of, is_due, own_certificate, renew
from fedjoint.node.settings import NodeSettings
from tests.network import now
from tests.node.conftest import join, make_home

SETTINGS = NodeSettings()


@pytest.fixture
def home(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    join(home, exchange)
    return home


def test_a_certificate_is_due_when_less_than_the_agreed_part_of_its_life_is_left(home):
    certificate = own_certificate(home)
    assert not is_due(certificate, SETTINGS, now=now() + timedelta(days=19))
    assert is_due(certificate, SETTINGS, now=now() + timedelta(days=20))


def test_renewal_brings_a_new_key_and_certificate_together(home):
    before, serial = home.tls.read_bytes(), own_certificate(home).serial
    renew(home, SETTINGS, now=now())
    after = credentials_of(home, home.load_membership(), SETTINGS)
    assert after.key_pem not in before
    assert own_certificate(home).serial != serial
    assert home.tls.stat().st_mode & 0o777 == 0o600


def test_an_exchange_that_issues_for_another_key_or_role_is_not_believed(home, exchange, monkeypatch):
    kept = home.tls.read_bytes()
    pem = own_pem = exchange.network.issue("bern")[1]
    monkeypatch.setattr(exchange, "_issue", lambda party, request: own_pem)
    with pytest.raises(IdentityError, match="for another key"):
        renew(home, SETTINGS, now=now())
    own_pem = exchange.network.issue("bern", role="exchange")[1]
    with pytest.raises(IdentityError, match="certificate of exchange 'bern'"):
        renew(home, SETTINGS, now=now())
    assert home.tls.read_bytes() == kept
    assert read_certificate(pem).party == "bern"


def test_an_enrolment_whose_reply_was_lost_is_done_again_with_the_same_key(tmp_path, exchange, monkeypatch):
    home = make_home(tmp_path, "cork")
    issue = exchange._issue

    def lose(party, request):
        issue(party, request)
        raise IdentityError("the reply was lost")

    monkeypatch.setattr(exchange, "_issue", lose)
    with pytest.raises(IdentityError, match="lost"):
        join(home, exchange)
    key = home.tls.read_bytes()
    assert not home.joined.exists()
    with pytest.raises(IdentityError, match="holds no certificate"):
        own_certificate(home)
    monkeypatch.setattr(exchange, "_issue", issue)
    from tests.node.conftest import fedjoint

    fedjoint(
        "join", f"localhost:{exchange.port}", "--invite", home.folder.with_suffix(".invitation"), "--home", home.folder
    )
    assert home.tls.read_bytes().startswith(key.partition(b"-----END PRIVATE KEY-----")[0])
