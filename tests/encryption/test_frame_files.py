import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedjoint.encryption.ciphertext import add
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.files import new_array_file, read_array_file
from fedjoint.encryption.fixed_point import Update, dequantise_sum, quantise
from fedjoint.encryption.frame_files import new_frame_file, read_frame_file, write_sum_file
from fedjoint.encryption.frames import FrameHeader, pack_frame, parse_frame
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.errors import EncryptionError, FrameRefused
from fedjoint.identity.keys import Identity

SENDER, COORDINATOR = Identity.create("cleveland", "Cleveland"), Identity.create("exchange", "Exchange")
SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])
SIZE = 70_000


def header(key, kind="update"):
    return FrameHeader(kind=kind, binding=key.binding, round_number=1, key_id=key.key_id)


def encrypt_to(path, key, update, place):
    with new_frame_file(path, header=header(key), sender=SENDER, parameters=key.parameters) as frame:
        frame.finish(make_encryptor(key).encrypt(update, round_number=1, place=place, into=frame.body))


def read(path, key, kind="update"):
    sender = SENDER if kind == "update" else COORDINATOR
    return read_frame_file(path, expected=header(key, kind), sender=sender.public, parameters=key.parameters)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@SCHEMES
def test_a_round_from_file_to_file_gives_what_it_gives_in_memory(agree, key_of, by, tmp_path, scheme):
    agreed = agree(scheme=scheme, num_parameters=SIZE, values_per_word=2)
    updates, levels = np.random.default_rng(0).uniform(-1, 1, (3, SIZE)).astype(np.float32), []
    for place, values in enumerate(updates):
        values.tofile(tmp_path / f"values {place}")
        mapped = read_array_file(tmp_path / f"values {place}", dtype="<f4")
        update = Update(values=mapped, parameters=agreed, rounding=np.random.default_rng(place))
        encrypt_to(tmp_path / f"update {place}", key_of(agreed), update, place)
        levels.append(quantise(values, agreed, rounding=np.random.default_rng(place)))
    key = key_of(agreed)
    frames = [read(tmp_path / f"update {place}", key) for place in range(3)]
    write_sum_file(tmp_path / "sum", frames, header=header(key, "sum"), sender=COORDINATOR)
    total = read(tmp_path / "sum", key, "sum")
    assert (total.c0 == add(frames).c0).all()
    with new_array_file(tmp_path / "result", dtype="<f8", size=SIZE) as sums:
        decrypt_sum(key, total, of=by(3), minimum_holders=3, into=sums)
    expected = dequantise_sum(np.sum(levels, axis=0, dtype=np.uint64), 3, agreed)
    assert (read_array_file(tmp_path / "result", dtype="<f8") == expected).all()


@SCHEMES
def test_a_frame_in_a_file_is_the_frame_in_memory(agree, key_of, encrypt_one, tmp_path, scheme):
    agreed = agree(scheme=scheme, num_parameters=SIZE)
    key, sent = key_of(agreed), encrypt_one(np.arange(SIZE) % 100, agreed)
    with new_frame_file(tmp_path / "a", header=header(key), sender=SENDER, parameters=agreed) as frame:
        frame.finish(sent)
    in_memory = pack_frame(sent, header=header(key), sender=SENDER)
    assert (tmp_path / "a").read_bytes() == in_memory
    got = parse_frame(in_memory, expected=header(key), sender=SENDER.public, parameters=agreed)
    assert (got.c0 == read(tmp_path / "a", key).c0).all()


@SCHEMES
def test_a_running_sum_in_a_file_grows_by_one_frame_at_a_time(agree, key_of, encrypt_one, by, tmp_path, scheme):
    agreed = agree(scheme=scheme)
    key, path, heard = key_of(agreed), tmp_path / "sum", []
    for place in range(4):
        encrypt_to(tmp_path / "update", key_of(agreed), np.full(10, place, dtype=np.uint64), place)
        parts = [read(path, key, "sum")] if place else []
        write_sum_file(
            path,
            [*parts, read(tmp_path / "update", key)],
            header=header(key, "sum"),
            sender=COORDINATOR,
            progress=lambda done, total: heard.append((done, total)),
        )
    sums = decrypt_sum(key, read(path, key, "sum"), of=by(4), minimum_holders=4)
    assert sums.tolist() == [6] * 10
    assert heard == [(10, 10)] * 4


def test_a_sum_that_is_refused_leaves_the_one_before(agree, key_of, encrypt_one, tmp_path):
    agreed = agree()
    key, path = key_of(agreed), tmp_path / "sum"
    encrypt_to(tmp_path / "update", key_of(agreed), np.zeros(10, dtype=np.uint64), 0)
    one = read(tmp_path / "update", key)
    write_sum_file(path, [one], header=header(key, "sum"), sender=COORDINATOR)
    before = path.read_bytes()
    for wrong, word in (([one, one], "in the sum already"), ([], "no updates")):
        with pytest.raises(EncryptionError, match=word):
            write_sum_file(path, wrong, header=header(key, "sum"), sender=COORDINATOR)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["sum", "update"]


def test_a_frame_that_was_not_finished_takes_no_name(agree, key_of, tmp_path):
    key = key_of(agree())
    with (
        pytest.raises(EncryptionError, match="not finished"),
        new_frame_file(tmp_path / "a", header=header(key), sender=SENDER, parameters=agree()),
    ):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("where", [0, 40, 300, -1])
def test_a_file_that_was_altered_cut_or_lost_is_refused(agree, key_of, tmp_path, where):
    key, path = key_of(agree()), tmp_path / "a"
    encrypt_to(path, key_of(agree()), np.zeros(10, dtype=np.uint64), 0)
    whole = bytearray(path.read_bytes())
    whole[where] ^= 1
    for content in (whole, whole[:-1], b"", None):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(FrameRefused):
            read(path, key)
    with pytest.raises(FrameRefused, match="wrong round"):
        encrypt_to(path, key_of(agree()), np.zeros(10, dtype=np.uint64), 0)
        read_frame_file(path, expected=replace(header(key), round_number=2), sender=SENDER.public, parameters=agree())


def test_memory_does_not_grow_with_the_update(tmp_path):
    # 2 million parameters: values of 8 MB, frames of 32 MB, results of 8 MB; blocks of half a MB.
    workers = str(Path(__file__).parents[2] / "benchmarks" / "workers")
    code = """
import sys
from he_files import step
size = [sys.argv[1], "seal", 2_000_000, 2, 1]
step("draw", size)
steps = step("encrypt", size, 0), step("encrypt", size, 1), step("sum", size), step("decrypt", size)
assert step("error", size)["result"] < 1e-5
print(max(facts["peak_mb"] for facts in steps))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([workers, *sys.path])}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, check=True, timeout=120, env=environment, capture_output=True, text=True)
    assert float(done.stdout) < 30


#: Does one step of a round in the folder given, and kills itself at the first block of it.
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_frame_files import SIZE, COORDINATOR, SENDER, encrypt_to, header, read
from fedjoint.encryption.binding import Binding
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.files import new_array_file
from fedjoint.encryption.fixed_point import Levels
from fedjoint.encryption.frame_files import new_frame_file, write_sum_file
from fedjoint.encryption.frames import pack_frame
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.tags import Contributors

scheme, step, folder = sys.argv[2], sys.argv[3], Path(sys.argv[4])
agreed = Parameters(scheme=scheme, num_parameters=SIZE, max_holders=4, bound=1.0, value_bits=16, rounds=8)
binding = Binding(agreement_sha256="ab" * 32, run_id="cd" * 16)
key = SecretKey(np.random.default_rng(0).integers(-1, 2, DEGREE, dtype=np.int8), agreed, binding)

def die(done, total):
    assert done < total, "a later block would do as well"
    assert any(".partial" in path.name for path in folder.iterdir()), "it is being written"
    os.kill(os.getpid(), signal.SIGKILL)

encryptor = make_encryptor(key)
levels = np.zeros(SIZE, dtype=np.uint64)
if step == "encrypt":
    with new_frame_file(folder / "result", header=header(key), sender=SENDER, parameters=agreed) as frame:
        frame.finish(encryptor.encrypt(levels, round_number=1, place=0, into=frame.body, progress=die))
one = encryptor.encrypt(levels, round_number=1, place=0)
if step == "sum":
    write_sum_file(folder / "result", [one], header=header(key, "sum"), sender=COORDINATOR, progress=die)
with new_array_file(folder / "result", dtype="<f8", size=SIZE) as sums:
    of = Contributors(round_number=1, places=(0,))
    decrypt_sum(key, one, of=of, minimum_holders=1, into=sums, progress=die)
"""


@SCHEMES
@pytest.mark.parametrize("step", ["encrypt", "sum", "decrypt"])
@pytest.mark.parametrize("before", [None, b"as it was"])
def test_a_process_killed_in_the_middle_leaves_what_was_there(tmp_path, scheme, step, before):
    result = tmp_path / "result"
    if before is not None:
        result.write_bytes(before)
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), scheme, step, str(tmp_path)]
    done = subprocess.run(command, check=False, timeout=120, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == -signal.SIGKILL
    assert (result.read_bytes() if result.exists() else None) == before
    with new_array_file(result, dtype="u1", size=4) as array:
        array[:] = 7
    assert names(tmp_path) == ["result"]
    assert result.read_bytes() == b"\x07" * 4
