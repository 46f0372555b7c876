"""What a store keeps, and what it refuses to read."""

import json
import os
import stat

import pytest

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.errors import TrainingError
from fedjoint.training import checkpoint
from fedjoint.training.checkpoint import Checkpoint, FolderStore, MemoryStore

OF = {"party": "ahus", "run_id": "ab" * 16}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture(params=["folder", "memory"])
def reopen(request, folder):
    """Gives the store anew, as another process would open it."""
    in_memory, before = MemoryStore(), []

    def make():
        for store in before:
            store.close()
        before.append(in_memory if request.param == "memory" else FolderStore(folder, of=OF))
        return before[-1]

    yield make
    for store in before:
        store.close()


def test_a_new_store_has_nothing(reopen):
    assert reopen().load() is None


def test_what_was_committed_is_there_again_with_its_blobs(reopen):
    store = reopen()
    name = store.put(b"weights ", memoryview(b"of a model"))
    store.commit({"round": 7, "holders": ["ahus"], "loss": 0.25}, {"model": name})
    again = reopen()
    assert again.load() == Checkpoint(facts={"round": 7, "holders": ["ahus"], "loss": 0.25}, blobs={"model": name})
    assert again.get(name) == b"weights of a model"


def test_what_was_put_and_not_committed_is_no_part_of_the_state_and_goes(reopen):
    store = reopen()
    store.commit({"round": 1}, {"model": store.put(b"one")})
    lost = store.put(b"two")
    store = reopen()
    assert store.load().facts == {"round": 1}
    store.commit({"round": 2}, {"model": store.put(b"three")})
    store = reopen()
    assert store.get(store.load().blobs["model"]) == b"three"
    for name in (lost, sha256_hex(b"one")):
        with pytest.raises(TrainingError, match="cannot be taken up again"):
            store.get(name)


def test_a_blob_that_stays_named_stays_without_being_put_again(reopen):
    store = reopen()
    name = store.put(b"levels of round 1")
    store.commit({"round": 1}, {"levels.1": name})
    store = reopen()
    store.commit({"round": 2}, {**store.load().blobs, "levels.2": store.put(b"levels of round 2")})
    store = reopen()
    assert [store.get(store.load().blobs[f"levels.{number}"])[-1:] for number in (1, 2)] == [b"1", b"2"]


def committed(folder):
    store = FolderStore(folder, of=OF)
    store.commit({"round": 1}, {"model": store.put(b"weights")})
    store.close()
    return folder / "state.json"


def refused(folder, *, of=OF):
    store = FolderStore(folder, of=of)
    try:
        with pytest.raises(TrainingError) as problem:
            store.load()
        return str(problem.value)
    finally:
        store.close()


def test_everything_is_readable_by_its_owner_alone(folder):
    committed(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_another_partys_or_runs_state_is_refused(folder):
    committed(folder)
    assert "Name the right folder" in refused(folder, of=OF | {"party": "bern"})
    assert "Name the right folder" in refused(folder, of=OF | {"run_id": "cd" * 16})


@pytest.mark.parametrize("place", [0, 20, -1])
def test_a_changed_byte_is_refused(folder, place):
    path = committed(folder)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert "is not as it was written" in refused(folder)


def test_a_state_of_another_format_is_refused(folder):
    path = committed(folder)
    state = json.loads(path.read_bytes().split(b"\n")[0])
    for changed in (state | {"format": "fedjoint-state-9"}, ["no", "state"]):
        data = canonical_bytes(changed)
        path.write_bytes(data + b"\n" + sha256_hex(data).encode())
        assert "is of another format" in refused(folder)


def test_a_state_that_is_too_long_is_refused(folder, monkeypatch):
    committed(folder)
    monkeypatch.setattr(checkpoint, "MAX_FACTS_BYTES", 100)
    assert "expected at most 100" in refused(folder)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"weights?")])
def test_a_missing_or_changed_blob_is_refused(folder, damage):
    committed(folder)
    damage(folder / "blobs" / sha256_hex(b"weights"))
    store = FolderStore(folder, of=OF)
    with pytest.raises(TrainingError, match="missing or not as it was written"):
        store.get(store.load().blobs["model"])
    store.close()


def test_one_process_uses_it_at_a_time(folder):
    store = FolderStore(folder, of=OF)
    with pytest.raises(TrainingError, match="is in use"):
        FolderStore(folder, of=OF)
    store.close()
    FolderStore(folder, of=OF).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written: Not a directory"):
        FolderStore(tmp_path / "file" / "state", of=OF)


def test_a_full_disk_leaves_the_state_before(folder, monkeypatch):
    store = FolderStore(folder, of=OF)
    store.commit({"round": 1}, {"model": store.put(b"one")})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left"):
        store.put(b"two")
    with pytest.raises(TrainingError, match="No space left"):
        store.commit({"round": 2}, {})
    monkeypatch.undo()
    store.close()
    again = FolderStore(folder, of=OF)
    assert again.load().facts == {"round": 1} and again.get(sha256_hex(b"one")) == b"one"
    again.close()


def test_what_a_killed_process_left_half_written_is_removed(folder):
    committed(folder)
    (folder / ".state.json.abc").write_text("half")
    (folder / "blobs" / ".def.ghi").write_text("half")
    store = FolderStore(folder, of=OF)
    store.commit(store.load().facts, store.load().blobs)
    store.close()
    assert sorted(path.name for path in folder.rglob(".*")) == []
