import pytest

from fedjoint.errors import RecordError
from fedjoint.identity.keys import Identity
from fedjoint.record.checkpoint import Checkpoint, sign_checkpoint
from fedjoint.record.merkle import MerkleTree, leaf_hash
from fedjoint.record.witness import Witness

EXCHANGE, HOLDER = Identity.create("exchange", "Exchange"), Identity.create("a", "A")


def history(salt: int) -> MerkleTree:
    return MerkleTree(leaf_hash(bytes([salt, number])) for number in range(9))


def show(witness: Witness, tree: MerkleTree, size: int, *, origin: str = "log/1") -> str:
    """Have a witness countersign the first entries of a log."""
    root = tree.root(size).hex()
    checkpoint = Checkpoint(origin=origin, size=size, root=root, at="2026-12-31T00:00:00Z")
    signed = sign_checkpoint(checkpoint, EXCHANGE)
    return witness.countersign(signed, lambda old: [node.hex() for node in tree.consistency(old, size)])


def watch(file) -> Witness:
    return Witness(HOLDER, coordinator=EXCHANGE.public, origin="log/1", file=file)


def test_a_witness_remembers_over_a_restart_and_refuses_another_history(tmp_path):
    file, honest, false = tmp_path / "seen.json", history(0), history(1)
    show(watch(file), honest, 3)
    show(watch(file), honest, 7)
    kept = file.read_bytes()
    for size in (7, 9):
        with pytest.raises(RecordError):
            show(watch(file), false, size)
    with pytest.raises(RecordError, match="was cut or replaced"):
        show(watch(file), honest, 6)
    assert file.read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen.json"]
    show(watch(file), honest, 9)


def test_another_log_is_refused(tmp_path):
    with pytest.raises(RecordError, match="a checkpoint of log 'log/2'; expected one of 'log/1'"):
        show(watch(None), history(0), 3, origin="log/2")
    show(watch(tmp_path / "seen.json"), history(0), 3)
    with pytest.raises(RecordError, match="a checkpoint of log 'log/1'; expected one of 'log/3'"):
        Witness(HOLDER, coordinator=EXCHANGE.public, origin="log/3", file=tmp_path / "seen.json")


def test_a_damaged_memory_is_refused_rather_than_forgotten(tmp_path):
    file = tmp_path / "seen.json"
    show(watch(file), history(0), 3)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RecordError, match=r"seen\.json is not JSON"):
        watch(file)


def test_nothing_is_left_when_the_memory_cannot_be_written(tmp_path, monkeypatch):
    witness = watch(tmp_path / "gone" / "seen.json")
    with pytest.raises(FileNotFoundError):
        show(witness, history(0), 3)
    assert witness.seen is None
