"""Who is let in at this moment, and who is refused with which reason."""

from datetime import UTC, datetime, timedelta

import pytest

from fedjoint.errors import IdentityError, InvalidValue
from fedjoint.exchange.certification import Gate
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.identity.certificates import NodeKey, issue_certificate, make_authority, read_certificate
from fedjoint.identity.invitation import ENROL
from fedjoint.identity.keys import Identity

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.time = START

    def __call__(self):
        return self.time


@pytest.fixture(scope="module")
def authority():
    return make_authority("E", now=START)


@pytest.fixture
def gate(authority):
    clock = Clock()
    settings = ExchangeSettings(address="localhost:1", listen="localhost:1", certificate_days=10, invitation_hours=2.0)
    with ExchangeStore.open("sqlite://") as store:
        found = Gate(authority, store.members, settings=settings, now=clock)
        found.clock, found.members = clock, store.members
        yield found


def enrolled(gate, party="ahus"):
    identity, key, invitation = Identity.create(party, party.title()), NodeKey.generate(), None
    invitation = gate.invite(party, party.title(), exchange_name="E")
    request = key.request(party)
    serial = read_certificate(invitation.certificate.encode()).serial
    signature = identity.sign(ENROL, request)
    return gate.enrol(serial, identity.public, token=invitation.token, request=request, signature=signature)


def test_a_member_is_admitted_until_its_certificate_expires(gate):
    pem = enrolled(gate)
    assert gate.admit(pem).party == gate.admit_link(pem) == "ahus"
    gate.clock.time += timedelta(days=11)
    with pytest.raises(IdentityError, match="the certificate of 'ahus' expired on 2026-01-11"):
        gate.admit(pem)


def test_a_renewed_certificate_outlives_the_first(gate):
    enrolled(gate)
    gate.clock.time += timedelta(days=6)
    pem = gate.renew("ahus", NodeKey.generate().request("ahus"))
    gate.clock.time += timedelta(days=6)
    assert gate.admit_link(pem) == "ahus"


def test_a_certificate_that_is_in_no_book_is_refused_though_the_authority_signed_it(gate, authority):
    pem = issue_certificate(authority, NodeKey.generate().request("ahus"), party="ahus", role="holder", now=START)
    with pytest.raises(IdentityError, match="is of no registered node"):
        gate.admit(pem)


def test_another_authoritys_certificate_is_refused(gate):
    other = make_authority("F", now=START)
    pem = issue_certificate(other, NodeKey.generate().request("ahus"), party="ahus", role="holder", now=START)
    with pytest.raises(IdentityError, match="was not signed by this exchange"):
        gate.admit(pem)


def test_a_revoked_certificate_is_refused_at_the_next_call(gate):
    pem = enrolled(gate)
    gate.members.revoke("ahus", state="revoked", reason="lost", at="2026-01-01T01:00:00.000Z")
    with pytest.raises(IdentityError, match="was revoked at 2026-01-01T01"):
        gate.admit(pem)


def test_an_invitation_admits_to_enrolment_alone_and_not_for_long(gate):
    pem = gate.invite("ahus", "Ahus", exchange_name="E").certificate.encode()
    assert gate.admit(pem).role == "invited"
    with pytest.raises(IdentityError, match="role 'invited' may not connect as a holder"):
        gate.admit_link(pem)
    gate.clock.time += timedelta(hours=3)
    with pytest.raises(IdentityError, match="the invitation of 'ahus' expired at 2026-01-01T02"):
        gate.admit(pem)


def test_whoever_enrols_must_have_the_keys_it_names(gate):
    invitation = gate.invite("ahus", "Ahus", exchange_name="E")
    request, public = NodeKey.generate().request("ahus"), Identity.create("ahus", "Ahus").public
    thief = Identity.create("ahus", "Thief")
    serial = read_certificate(invitation.certificate.encode()).serial
    with pytest.raises(IdentityError, match="signature for 'enrol' is not that of 'ahus'"):
        gate.enrol(serial, public, token=invitation.token, request=request, signature=thief.sign(ENROL, request))


def test_nobody_is_invited_under_a_malformed_id(gate):
    with pytest.raises(InvalidValue, match="party id 'Ahus!'"):
        gate.invite("Ahus!", "Ahus", exchange_name="E")


def appointed(gate, operator="anna"):
    return gate.appoint(operator, operator.title()).certificate.encode()


def test_an_operator_is_admitted_until_its_certificate_expires_and_never_as_a_holder(gate):
    pem = appointed(gate)
    assert (gate.admit(pem).role, gate.admit(pem).party) == ("operator", "anna")
    with pytest.raises(IdentityError, match="role 'operator' may not connect as a holder"):
        gate.admit_link(pem)
    with pytest.raises(IdentityError, match="'anna' is no member"):
        gate.renew("anna", NodeKey.generate().request("anna"))
    gate.clock.time += timedelta(days=11)
    with pytest.raises(IdentityError, match="the certificate of 'anna' expired on 2026-01-11"):
        gate.admit(pem)


def test_an_operator_is_revoked_at_once_and_by_a_new_file(gate):
    first = appointed(gate)
    second = appointed(gate)
    with pytest.raises(IdentityError, match="'anna' was revoked"):
        gate.admit(first)
    assert gate.members.operators()[0].good_until == "2026-01-11T00:00:00.000Z"
    gate.members.revoke("anna", state="revoked", reason="left us", at="2026-01-01T01:00:00.000Z")
    with pytest.raises(IdentityError, match="'anna' was revoked at 2026-01-01T01"):
        gate.admit(second)
    assert gate.members.operators()[0].good_until is None
    assert gate.admit(appointed(gate)).role == "operator"


def test_an_id_is_an_operators_or_a_holders_and_never_both(gate):
    appointed(gate)
    gate.members.revoke("anna", state="revoked", reason="", at="2026-01-01T01:00:00.000Z")
    with pytest.raises(IdentityError, match="'anna' is an operator's id"):
        gate.invite("anna", "Anna", exchange_name="E")
    enrolled(gate, "ahus")
    gate.invite("bern", "Bern", exchange_name="E")
    for holder in ("ahus", "bern"):
        with pytest.raises(IdentityError, match=f"'{holder}' is a holder's id"):
            appointed(gate, holder)
    assert [member.id for member in gate.members.all()] == ["ahus", "bern"]


def test_a_malformed_request_gets_no_certificate(gate):
    enrolled(gate)
    with pytest.raises(IdentityError, match="no PEM request"):
        gate.renew("ahus", b"rubbish")
