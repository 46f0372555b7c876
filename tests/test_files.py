import pytest

from fedjoint.errors import IdentityError
from fedjoint.files import read_secret, replace_file, write_new_secret


def test_a_file_is_replaced_whole_with_the_mode_asked_for(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old and longer")
    replace_file(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        replace_file(tmp_path / "folder", b"new")
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "gone" / "a.json", b"new")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_a_secret_is_written_once_and_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "key"
    write_new_secret(path, b"secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_secret(path, most_bytes=6) == b"secret"
    with pytest.raises(IdentityError, match="never overwritten"):
        write_new_secret(path, b"other")
    with pytest.raises(IdentityError, match="cannot be written"):
        write_new_secret(tmp_path / "no" / "key", b"other")


def test_a_secret_that_others_can_read_or_that_is_too_long_or_missing_is_refused(tmp_path):
    path = tmp_path / "key"
    write_new_secret(path, b"secret")
    with pytest.raises(IdentityError, match="too large"):
        read_secret(path, most_bytes=5)
    path.chmod(0o604)
    with pytest.raises(IdentityError, match="chmod 600"):
        read_secret(path, most_bytes=6)
    with pytest.raises(IdentityError, match="cannot be read"):
        read_secret(tmp_path / "none", most_bytes=6)
