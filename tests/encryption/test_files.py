import fcntl

import numpy as np
import pytest

from fedjoint.encryption import files
from fedjoint.encryption.files import new_array_file, read_array_file
from fedjoint.errors import EncryptionError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_array_is_in_its_file_once_the_block_is_left(tmp_path):
    path = tmp_path / "sums"
    with new_array_file(path, dtype="<f8", size=1000) as array:
        assert not array.any()
        array[:] = np.arange(1000)
        assert not path.exists()
    assert read_array_file(path, dtype="<f8").tolist() == list(range(1000))
    assert names(tmp_path) == ["sums"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_block_left_by_an_exception_leaves_what_was_there(tmp_path):
    path = tmp_path / "sums"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), new_array_file(path, dtype="<f8", size=10) as array:
        array[:] = 1
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["sums"]


def test_a_file_of_the_same_name_is_replaced_and_who_still_reads_it_is_not_disturbed(tmp_path):
    path = tmp_path / "sums"
    path.write_bytes(bytes(80))
    before = read_array_file(path, dtype="<f8")
    with new_array_file(path, dtype="<f8", size=10) as array:
        array[:] = before + 1
    assert read_array_file(path, dtype="<f8").tolist() == [1.0] * 10
    assert not before.any()


def test_what_a_killed_process_left_goes_with_the_next_try_and_what_is_being_written_stays(tmp_path):
    dead, other, alive = (tmp_path / name for name in (".sums.a.partial", ".other.a.partial", ".sums.b.partial"))
    for leftover in (dead, other, alive):
        leftover.write_bytes(b"x")
    with alive.open("rb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        with new_array_file(tmp_path / "sums", dtype="u1", size=1):
            pass
    assert names(tmp_path) == [".other.a.partial", ".sums.b.partial", "sums"]


def test_a_mapped_file_cannot_be_written_to(tmp_path):
    (tmp_path / "a").write_bytes(bytes(8))
    with pytest.raises(ValueError, match="read-only"):
        read_array_file(tmp_path / "a", dtype="<u8")[0] = 1


@pytest.mark.parametrize("content", [None, b"", b"1234567"])
def test_a_file_that_is_missing_empty_or_not_of_whole_elements_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(EncryptionError, match="cannot be read"):
        read_array_file(tmp_path / "a", dtype="<u8")


def test_a_folder_that_is_not_there_and_a_disk_that_is_full_are_told_before_anything_is_written(tmp_path, monkeypatch):
    with (
        pytest.raises(EncryptionError, match="cannot be written"),
        new_array_file(tmp_path / "x" / "y", dtype="u1", size=1),
    ):
        pass

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "posix_fallocate", full)
    with pytest.raises(EncryptionError, match="No space left"), new_array_file(tmp_path / "y", dtype="u1", size=1):
        pass
    assert names(tmp_path) == []
