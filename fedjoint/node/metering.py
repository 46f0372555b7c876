"""What the tasks of each run cost this node in processor time: kept in its folder, to be signed and paid as agreed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import AgreementError
from fedjoint.files import replace_file
from fedjoint.node.home import Home
from fedjoint.strict import build, strict

__all__ = ["Meter", "Metered", "metered_by"]

#: So much may be lost if the process is killed; a holder then asks for less, never for more.
_WRITE_AFTER_S = 1.0
_MAX_RUNS = 100


@strict
@dataclass(frozen=True, kw_only=True)
class Metered:
    """What was metered under one agreement.

    Args:
        agreement_sha256: The agreement.
        cpu_ms: Processor milliseconds of all cores together, by run id.
    """

    agreement_sha256: str
    cpu_ms: Mapping[str, int]


class Meter:
    """Counts the processor time of tasks. Tasks that overlap are not counted twice.

    Args:
        home: The holder's folder.
        clock: Gives the processor time of this process, seconds.
    """

    def __init__(self, home: Home, *, clock: Callable[[], float] = time.process_time) -> None:
        self._home, self._clock, self._lock = home, clock, threading.Lock()
        self._counted_until = 0.0
        self._seconds: dict[tuple[str, str], float] = {}

    @contextmanager
    def task(self, agreement_sha256: str, run_id: str) -> Iterator[None]:
        """Count what is done inside for a run, be it refused or not."""
        began = self._clock()
        try:
            yield
        finally:
            with self._lock:
                ended, key = self._clock(), (agreement_sha256, run_id)
                spent = ended - max(began, self._counted_until)
                self._counted_until = ended
                self._seconds[key] = self._seconds.get(key, 0.0) + max(spent, 0.0)
                if self._seconds[key] >= _WRITE_AFTER_S:
                    self._write(*key)

    def close(self) -> None:
        """Write down what is not written yet."""
        with self._lock:
            for key in list(self._seconds):
                self._write(*key)

    def _write(self, agreement_sha256: str, run_id: str) -> None:
        seconds = self._seconds.pop((agreement_sha256, run_id))
        path = _path(self._home, agreement_sha256)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        cpu_ms = dict(_read(path).cpu_ms) if path.exists() else {}
        if run_id in cpu_ms or len(cpu_ms) < _MAX_RUNS:  # an exchange can make up run ids
            cpu_ms[run_id] = cpu_ms.get(run_id, 0) + round(1_000 * seconds)
            replace_file(path, canonical_bytes(Metered(agreement_sha256=agreement_sha256, cpu_ms=cpu_ms)), mode=0o600)


def metered_by(home: Home, start: str) -> Metered:
    """What was metered under the one agreement whose hash begins so.

    Raises:
        AgreementError: there is none, or there are several.
    """
    found = sorted(home.metered.glob(f"{start}*.json")) if start.isalnum() else []
    if len(found) != 1:
        raise AgreementError(
            f"'{start[:80]}' names {len(found)} agreements whose runs this node has metered",
            expected="the first letters of one",
        )
    return _read(found[0])


def _read(path: Path) -> Metered:
    value = parse_canonical(path.read_bytes(), error=AgreementError, where=path.name)
    return build(Metered, value, error=AgreementError, where=path.name)


def _path(home: Home, agreement_sha256: str) -> Path:
    return home.metered / f"{agreement_sha256}.json"
