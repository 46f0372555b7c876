"""Memory for what arrives."""

import mmap
import resource

import pytest

from fedjoint.errors import TransportError
from fedjoint.transport.link import gathering
from fedjoint.transport.link.gathering import Gathering

MIB = 1 << 20


def parts_of(size, part):
    data = bytes(range(256)) * (size // 256 + 1)
    return [data[start : min(start + part, size)] for start in range(0, size, part)]


def gather(parts):
    gathered = Gathering(sum(map(len, parts)))
    for part in parts:
        gathered.add(memoryview(part))
    return gathered


@pytest.mark.parametrize(
    ("size", "part"), [(1, 1), (70_001, 4096), (4 * MIB, MIB), (4 * MIB + 1, MIB), (19 * MIB + 7, 3 * MIB + 1)]
)
def test_what_came_in_parts_is_the_whole(size, part):
    parts = parts_of(size, part)
    gathered = gather(parts)
    assert len(gathered) == size
    assert bytes(gathered.whole()) == b"".join(parts)


def test_a_large_announcement_takes_no_memory_before_its_bytes_come():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gathered = Gathering(1 << 40)
    gathered.add(b"one")
    assert len(gathered) == 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10  # KiB


def test_without_huge_pages_it_works_all_the_same(monkeypatch):
    monkeypatch.setattr(gathering, "_HUGE_PAGES", None)
    parts = parts_of(5 * MIB, MIB)
    assert bytes(gather(parts).whole()) == b"".join(parts)


def test_a_machine_without_memory_for_it_says_so(monkeypatch):
    def no_memory(*words, **named):
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", no_memory)
    with pytest.raises(TransportError, match="no memory for a message of 5242880 bytes"):
        Gathering(5 * MIB).add(b"one")
