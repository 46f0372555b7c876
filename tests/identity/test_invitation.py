"""Invitations: secrets in files, read strictly."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedjoint.errors import IdentityError
from fedjoint.identity.invitation import MAX_INVITATION_BYTES, Invitation, read_invitation, write_invitation
from fedjoint.strict import plain

GOOD = Invitation(
    party="bern",
    exchange="exchange.example:7443",
    exchange_name="Heart exchange",
    expires_at="2026-12-01T00:00:00+00:00",
    token="t" * 43,
    key="key",
    certificate="certificate",
    authority="authority",
)


def test_an_invitation_comes_back_as_it_was_written_and_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "bern.json"
    write_invitation(GOOD, path)
    assert read_invitation(path) == GOOD
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_invitation_is_never_written_over_another(tmp_path):
    write_invitation(GOOD, tmp_path / "bern.json")
    with pytest.raises(IdentityError, match="exists"):
        write_invitation(GOOD, tmp_path / "bern.json")
    with pytest.raises(IdentityError, match="cannot be written"):
        write_invitation(GOOD, tmp_path / "no" / "bern.json")


def test_an_invitation_can_come_by_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(plain(GOOD))))
    assert read_invitation(Path("-")) == GOOD


def test_an_invitation_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "bern.json"
    write_invitation(GOOD, path)
    path.chmod(0o640)
    with pytest.raises(IdentityError, match="chmod 600"):
        read_invitation(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"token": "x"}', "[" * 100_000, "x" * (MAX_INVITATION_BYTES + 1)])
def test_what_is_no_invitation_is_refused(tmp_path, text):
    path = tmp_path / "bern.json"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(IdentityError):
        read_invitation(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(IdentityError, match=r"none\.json cannot be read"):
        read_invitation(tmp_path / "none.json")


@pytest.mark.parametrize("change", [{"token": "short"}, {"expires_at": "tomorrow"}, {"expires_at": "2026-12-01"}])
def test_a_token_that_could_be_guessed_and_a_time_that_is_none_are_refused(change):
    with pytest.raises(IdentityError):
        replace(GOOD, **change)


def test_an_invitation_does_not_print_its_secrets():
    assert GOOD.token not in repr(GOOD) and "secrets hidden" in repr(GOOD)
