import pytest

from fedjoint.errors import RecordError
from fedjoint.runs.folder import NewRunFolder, file_hashes


def test_a_published_folder_holds_what_was_written(tmp_path):
    with NewRunFolder(tmp_path / "runs", "first") as folder:
        folder.write(b"1", "a.txt")
        final = folder.publish()
    assert final == tmp_path / "runs" / "first"
    assert (final / "a.txt").read_bytes() == b"1"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["first"]


def test_a_folder_that_fails_half_way_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), NewRunFolder(tmp_path, "broken") as folder:
        folder.write(b"1", "a.txt")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_never_overwritten(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(RecordError, match="exists"):
        NewRunFolder(tmp_path, "taken")


def test_a_folder_made_meanwhile_is_never_overwritten(tmp_path):
    with NewRunFolder(tmp_path, "raced") as folder:
        folder.write(b"1", "a.txt")
        (tmp_path / "raced").mkdir()
        (tmp_path / "raced" / "theirs.txt").write_bytes(b"2")
        with pytest.raises(RecordError, match="meanwhile"):
            folder.publish()
    assert (tmp_path / "raced" / "theirs.txt").read_bytes() == b"2"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "-x", "x" * 101, "a b", "é"])
def test_a_malformed_name_is_refused(tmp_path, name):
    with pytest.raises(RecordError, match=r"run\.name"):
        NewRunFolder(tmp_path, name)


def test_a_place_that_cannot_be_written_is_an_error_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"run\.folder"):
        NewRunFolder(tmp_path / "file" / "runs", "x")


def test_hashes_cover_every_file_but_the_record(tmp_path):
    (tmp_path / "statements").mkdir()
    (tmp_path / "statements" / "a.json").write_bytes(b"abc")
    (tmp_path / "record.jsonl").write_bytes(b"x")
    assert file_hashes(tmp_path) == {
        "statements/a.json": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    }


def test_a_run_that_goes_on_keeps_what_it_collected_when_another_begins(tmp_path):
    with NewRunFolder(tmp_path, "one") as one:
        one.write(b"word", "file")
        with NewRunFolder(tmp_path, "two") as two:
            two.publish()
        one.publish()
    assert (tmp_path / "one" / "file").read_bytes() == b"word"


def test_what_a_killed_run_collected_goes_when_another_begins(tmp_path):
    left = tmp_path / ".one.abc.partial"
    (left / "statements").mkdir(parents=True)
    with NewRunFolder(tmp_path, "two") as two:
        assert not left.exists()
        two.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
