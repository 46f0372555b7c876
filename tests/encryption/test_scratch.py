import hashlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fedjoint.encryption import scratch
from fedjoint.encryption.scratch import Scratch, forget, hash_into, mapped, pieces, sha256_of
from fedjoint.errors import EncryptionError


def test_what_is_small_stays_in_memory_and_what_is_large_is_mapped_from_a_file_without_a_name(tmp_path):
    room = Scratch(folder=tmp_path, small_bytes=800)
    small, large = room.array("<u8", 100), room.array("<u8", 101)
    assert (len(mapped([small])), len(mapped([large]))) == (0, 1)
    assert not small.any() and not large.any()
    assert list(tmp_path.iterdir()) == []


def test_memory_of_a_mapped_array_is_let_go_and_nothing_is_lost(tmp_path):
    array = Scratch(folder=tmp_path, small_bytes=0).array("<u8", 1 << 16)
    array[:] = 7
    forget(array, array[5:].view("u1"), np.arange(3), None)
    assert (array == 7).all()
    array.tofile(tmp_path / "a")
    written = np.memmap(tmp_path / "a", dtype="<u8", mode="c")
    written[0] = 8
    forget(written)  # private: its pages are kept, or what was written would be lost
    assert written[0] == 8


def test_pieces_cover_an_array_once(monkeypatch):
    monkeypatch.setattr(scratch, "_PIECE", 3)
    assert [list(range(8))[piece] for piece in pieces(8)] == [[0, 1, 2], [3, 4, 5], [6, 7]]


@pytest.mark.parametrize("small_bytes", [0, 1 << 30])
def test_a_hash_is_that_of_the_bytes_wherever_they_are(tmp_path, small_bytes):
    array = Scratch(folder=tmp_path, small_bytes=small_bytes).array("<f4", 700_001)
    array[:] = np.random.default_rng(0).normal(size=array.size)
    expected = hashlib.sha256(array.tobytes())
    assert sha256_of(array) == sha256_of(array.tobytes()) == expected.hexdigest()
    digest = hashlib.blake2b()
    hash_into(digest, array.view(np.uint8))
    assert digest.digest() == hashlib.blake2b(array.tobytes()).digest()


def test_a_folder_that_is_not_there_and_a_disk_that_is_full_are_told_before_anything_is_written(tmp_path, monkeypatch):
    with pytest.raises(EncryptionError, match="No such file"):
        Scratch(folder=tmp_path / "x", small_bytes=0).array("u1", 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch.os, "posix_fallocate", full)
    with pytest.raises(EncryptionError, match=r"has no room for 24 bytes: No space left.*Choose a folder"):
        Scratch(folder=tmp_path, small_bytes=0).array("<u8", 3)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_nothing(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from fedjoint.encryption.scratch import Scratch
array = Scratch(folder=Path(sys.argv[1]), small_bytes=0).array("<u8", 1 << 16)
array[:] = 7
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
