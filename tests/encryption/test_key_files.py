import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fedjoint.encryption import key_files
from fedjoint.encryption.key_files import erase_key, load_key, store_key
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.errors import EncryptionError

LEVELS = np.zeros(10, dtype=np.uint64)


@pytest.fixture
def stored(agree, key_of, tmp_path):
    """A key file that no process has open."""
    path = tmp_path / "run.key"
    key = key_of(agree())
    store_key(key, path)
    key.close()
    return path


def test_a_key_comes_back_from_its_file_which_only_its_owner_can_read(agree, key_of, binding, stored):
    assert stored.stat().st_mode & 0o777 == 0o600
    key = load_key(stored, parameters=agree(), binding=binding)
    assert key.key_id == key_of(agree()).key_id
    assert (key.coefficients() == key_of(agree()).coefficients()).all()


def test_a_key_file_is_never_overwritten(agree, key_of, stored):
    before = stored.read_bytes()
    with pytest.raises(EncryptionError, match="never overwritten"):
        store_key(key_of(agree(), 1), stored)
    assert stored.read_bytes() == before


def test_after_a_restart_no_round_is_encrypted_again(agree, key_of, binding, tmp_path):
    path, key = tmp_path / "run.key", key_of(agree())
    store_key(key, path)
    make_encryptor(key).encrypt(LEVELS, round_number=2, place=0)
    key.close()
    again = load_key(path, parameters=agree(), binding=binding)
    for used in (1, 2):
        with pytest.raises(EncryptionError, match="encrypted under this key already"):
            make_encryptor(again).encrypt(LEVELS, round_number=used, place=0)
    make_encryptor(again).encrypt(LEVELS, round_number=3, place=0)
    again.close()
    with pytest.raises(EncryptionError, match="a round after 3"):
        load_key(path, parameters=agree(), binding=binding).begin_round(3)


def test_rounds_before_the_key_had_a_file_count_too(agree, key_of, binding, tmp_path):
    path, key = tmp_path / "run.key", key_of(agree())
    key.begin_round(4)
    store_key(key, path)
    key.close()
    with pytest.raises(EncryptionError, match="a round after 4"):
        load_key(path, parameters=agree(), binding=binding).begin_round(4)


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from fedjoint.encryption.binding import Binding
from fedjoint.encryption.key_files import load_key
from fedjoint.encryption.parameters import Parameters
from fedjoint.encryption.scheme import make_encryptor

agreed = Parameters(scheme="seeded", num_parameters=10, max_holders=4, bound=1.0, value_bits=16, rounds=8)
key = load_key(Path(sys.argv[1]), parameters=agreed, binding=Binding(agreement_sha256="ab" * 32, run_id="cd" * 16))

def die(count):  # the encryption asks for randomness first of all
    os.kill(os.getpid(), signal.SIGKILL)

make_encryptor(key, entropy=die).encrypt(np.zeros(10, dtype=np.uint64), round_number=5, place=0)
"""


def test_a_round_whose_encryption_was_killed_as_it_began_is_not_encrypted_again(agree, binding, stored):
    done = subprocess.run([sys.executable, "-c", KILLED, str(stored)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    key = load_key(stored, parameters=agree(), binding=binding)
    with pytest.raises(EncryptionError, match="a round after 5"):
        key.begin_round(5)
    key.begin_round(6)


def test_a_round_that_cannot_be_written_down_is_not_encrypted(agree, key_of, monkeypatch, tmp_path):
    key, drawn = key_of(agree()), []
    store_key(key, tmp_path / "run.key")
    encryptor = make_encryptor(key, entropy=lambda count: drawn.append(count) or os.urandom(count))

    def full(*_):
        raise OSError(28, "No space left on device")

    for failing in (full, lambda handle, line: len(line) - 1):
        monkeypatch.setattr(key_files.os, "write", failing)
        with pytest.raises(EncryptionError, match="cannot be written"):
            encryptor.encrypt(LEVELS, round_number=1 if failing is full else 2, place=0)
    assert not drawn


def test_a_line_that_a_crash_cut_short_is_cut_off(agree, binding, stored):
    whole = stored.read_bytes()
    stored.write_bytes(whole + b'{"round": 3}\n{"rou')
    key = load_key(stored, parameters=agree(), binding=binding)
    key.begin_round(4)
    key.close()
    assert stored.read_bytes() == whole + b'{"round": 3}\n{"round": 4}\n'


def test_a_file_that_others_can_read_is_refused(agree, binding, stored):
    stored.chmod(0o640)
    with pytest.raises(EncryptionError, match="chmod 600"):
        load_key(stored, parameters=agree(), binding=binding)


def test_a_key_is_open_once_and_free_again_when_it_is_closed(agree, binding, stored):
    key = load_key(stored, parameters=agree(), binding=binding)
    for attempt in (lambda: load_key(stored, parameters=agree(), binding=binding), lambda: erase_key(stored)):
        with pytest.raises(EncryptionError, match="in use"):
            attempt()
    key.close()
    key.close()
    load_key(stored, parameters=agree(), binding=binding).close()


@pytest.mark.parametrize("change", [{"agreement_sha256": "00" * 32}, {"run_id": "00" * 16}])
def test_the_key_of_another_run_or_of_other_members_is_refused(agree, binding, stored, change):
    with pytest.raises(EncryptionError, match="each change of members"):
        load_key(stored, parameters=agree(), binding=replace(binding, **change))


def test_the_key_for_other_parameters_is_refused(agree, binding, stored):
    with pytest.raises(EncryptionError, match="another run, agreement or version"):
        load_key(stored, parameters=agree(max_holders=5), binding=binding)


def test_a_damaged_key_is_refused(agree, binding, stored):
    record = json.loads(stored.read_bytes())
    packed = bytearray.fromhex(record["key"])
    packed[0] ^= 1 if packed[0] & 3 == 0 else packed[0] & 3
    stored.write_text(json.dumps(record | {"key": packed.hex()}) + "\n")
    with pytest.raises(EncryptionError, match="is damaged"):
        load_key(stored, parameters=agree(), binding=binding)


@pytest.mark.parametrize(
    "content", [b"", b"x\n", b"[]\n", b"{}\n", b'{"format": 1}\n', b'{"round": 1}\n{"round": null}\n']
)
def test_a_file_that_is_no_key_is_refused(agree, binding, tmp_path, content):
    path = tmp_path / "run.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(EncryptionError, match="no key file"):
        load_key(path, parameters=agree(), binding=binding)


def test_a_file_that_is_not_there_or_is_a_link_is_refused(agree, binding, stored, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(stored)
    for path in (tmp_path / "none", link):
        with pytest.raises(EncryptionError, match="cannot be read"):
            load_key(path, parameters=agree(), binding=binding)
    with pytest.raises(EncryptionError, match="cannot be erased"):
        erase_key(tmp_path / "none")


def test_a_folder_that_is_not_there_is_told(agree, key_of, tmp_path):
    with pytest.raises(EncryptionError, match="cannot be written"):
        store_key(key_of(agree()), tmp_path / "none" / "run.key")


def test_a_key_has_one_file_and_a_refused_second_one_leaves_nothing(agree, key_of, tmp_path):
    key = key_of(agree())
    store_key(key, tmp_path / "first")
    with pytest.raises(EncryptionError, match="has a file already"):
        store_key(key, tmp_path / "second")
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_an_erased_key_is_overwritten_and_gone(stored):
    with stored.open("rb") as held:
        erase_key(stored)
        content = held.read()
    assert not stored.exists()
    assert content
    assert not any(content)
