import pytest

from fedjoint.files import replace_file


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
