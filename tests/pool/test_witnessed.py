import shutil

import pytest

from fedjoint.errors import RecordError
from fedjoint.pool.exported import export_pool, verify_pool
from fedjoint.pool.witnessed import verify_witnesses, witness_pool
from tests.pool.consortium import PEOPLE
from tests.pool.small_pool import SmallPool

EXCHANGE = PEOPLE["exchange"]


@pytest.fixture
def pool():
    return SmallPool()


def exported(pool, folder):
    export_pool(pool.store, folder, EXCHANGE)
    return folder


def watch(folder, who="a", seen="seen.json"):
    return witness_pool(folder, PEOPLE[who], exchange=EXCHANGE.public, seen=folder.parent / seen)


def test_a_witness_stands_by_a_record_that_goes_on_from_what_it_saw(pool, tmp_path):
    watch(exported(pool, tmp_path / "one"))
    pool.settle("s1", 1_000)
    second = exported(pool, tmp_path / "two")
    assert watch(second).checkpoint.size == pool.state().size
    watch(second, "b", "seen-b.json")
    assert verify_witnesses(second, verify_pool(second, EXCHANGE.public)) == ("a", "b")
    assert watch(second).signature == watch(second).signature


def test_another_history_is_never_countersigned(pool, tmp_path):
    pool.deposit("d", 5)
    watch(exported(pool, tmp_path / "one"))
    other = SmallPool()
    other.deposit("d", 6)
    other.deposit("e", 7)
    second = exported(other, tmp_path / "two")
    with pytest.raises(RecordError, match=r"does not begin with|same history|signed before"):
        watch(second)
    assert not (second / "witness-a.json").exists()


def test_a_shorter_record_is_refused(pool, tmp_path):
    first = exported(pool, tmp_path / "one")
    shutil.copytree(first, tmp_path / "kept")
    pool.deposit("d", 5)
    watch(exported(pool, tmp_path / "two"))
    with pytest.raises(RecordError, match="log was cut or replaced"):
        watch(tmp_path / "kept")


def test_only_a_registered_party_witnesses(pool, tmp_path):
    folder = exported(pool, tmp_path / "one")
    stranger = type(EXCHANGE).create("a", "A")
    with pytest.raises(RecordError, match="'a' is not registered in this pool with these keys"):
        witness_pool(folder, stranger, exchange=EXCHANGE.public, seen=tmp_path / "s")


def test_a_false_countersignature_is_found(pool, tmp_path):
    folder = exported(pool, tmp_path / "one")
    watch(folder)
    path, state = folder / "witness-a.json", verify_pool(folder, EXCHANGE.public)
    whole = path.read_bytes()
    for data, words in (
        (whole.replace(b'"signature":"', b'"signature":"A', 1), "signature|checkpoint of"),
        (whole.replace(b'"party":"a"', b'"party":"b"'), "of another party or checkpoint"),
        (whole + b" ", "canonical"),
        (b"{}", "missing"),
        (b" " * 10_001, "too large"),
    ):
        path.write_bytes(data)
        with pytest.raises(RecordError, match=words):
            verify_witnesses(folder, state)
