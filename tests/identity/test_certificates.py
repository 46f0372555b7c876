"""The exchange's authority and the certificates that it issues."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedjoint.errors import IdentityError
from fedjoint.identity.certificates import (
    NodeKey,
    check_certificate,
    fingerprint_of,
    issue_certificate,
    make_authority,
    read_certificate,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority():
    return make_authority("Exchange", now=NOW)


def issued(authority, *, party="bern", role="holder", now=NOW, days=365, hosts=()):
    request = NodeKey.generate().request("whatever it says")
    return issue_certificate(authority, request, party=party, role=role, now=now, days=days, hosts=hosts)


def test_a_certificate_says_who_it_was_issued_to_whatever_the_request_said(authority):
    certificate = check_certificate(issued(authority), authority.pem, now=NOW)
    assert (certificate.party, certificate.role) == ("bern", "holder")
    assert certificate.not_after == NOW + timedelta(days=365)


def test_it_holds_the_public_key_of_the_request_and_no_other(authority):
    key = NodeKey.generate()
    pem = issue_certificate(authority, key.request("bern"), party="bern", role="holder", now=NOW)
    private = serialization.load_pem_private_key(key.pem, None)
    assert x509.load_pem_x509_certificate(pem).public_key() == private.public_key()


def test_an_exchanges_certificate_names_its_hosts_and_serves_only(authority):
    pem = issued(authority, party="exchange", role="exchange", hosts=["exchange.example", "127.0.0.1"])
    parsed = x509.load_pem_x509_certificate(pem)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["exchange.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    usage = parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_one_that_another_authority_signed_is_refused(authority):
    with pytest.raises(IdentityError, match="was not signed by this exchange"):
        check_certificate(issued(make_authority("Exchange", now=NOW)), authority.pem, now=NOW)


def test_an_expired_one_is_refused_with_its_date(authority):
    with pytest.raises(IdentityError, match="expired on 2026-03-31"):
        check_certificate(issued(authority, days=30), authority.pem, now=NOW + timedelta(days=31))


def test_one_of_the_future_is_refused(authority):
    with pytest.raises(IdentityError, match="is valid from 2026-03-02"):
        check_certificate(issued(authority, now=NOW + timedelta(days=1)), authority.pem, now=NOW)


def test_a_clock_five_minutes_behind_is_no_reason_to_refuse(authority):
    check_certificate(issued(authority), authority.pem, now=NOW - timedelta(minutes=4))


@pytest.mark.parametrize("junk", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_junk_is_no_certificate(authority, junk):
    with pytest.raises(IdentityError, match="no PEM certificate"):
        read_certificate(junk)


def test_a_long_text_is_refused_unread():
    with pytest.raises(IdentityError, match="no PEM certificate"):
        read_certificate(b"-" * 20_000)


def test_the_authoritys_own_certificate_names_no_party(authority):
    with pytest.raises(IdentityError, match="names no party"):
        read_certificate(authority.pem)


def test_a_foreign_role_is_refused(authority):
    with pytest.raises(IdentityError, match="a role of exchange, holder, invited"):
        read_certificate(issued(authority, role="auditor"))


@pytest.mark.parametrize("junk", [b"", b"junk"])
def test_junk_is_no_request(authority, junk):
    with pytest.raises(IdentityError, match="no PEM request"):
        issue_certificate(authority, junk, party="bern", role="holder", now=NOW)


def test_a_request_for_a_key_of_another_kind_is_refused(authority):
    key = ed25519.Ed25519PrivateKey.generate()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)
    pem = request.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(IdentityError, match="a key of another kind"):
        issue_certificate(authority, pem, party="bern", role="holder", now=NOW)


def test_a_request_that_its_key_did_not_sign_is_refused(authority):
    der = bytearray(x509.load_pem_x509_csr(NodeKey.generate().request("bern")).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    pem = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(IdentityError, match="did not sign"):
        issue_certificate(authority, pem, party="bern", role="holder", now=NOW)


@pytest.mark.parametrize("pem", [b"junk", None])
def test_a_key_file_of_another_kind_is_refused(pem):
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(IdentityError, match="the TLS key"):
        NodeKey(pem or other).request("bern")


def test_a_key_does_not_print_itself():
    key = NodeKey.generate()
    assert "PRIVATE" not in repr(key)


def test_fingerprints_differ_and_are_read_aloud_easily(authority):
    first, second = fingerprint_of(issued(authority)), fingerprint_of(issued(authority))
    assert first != second
    assert [len(group) for group in first.split("-")] == [4] * 5


def test_two_certificates_never_share_a_serial(authority):
    assert read_certificate(issued(authority)).serial != read_certificate(issued(authority)).serial
