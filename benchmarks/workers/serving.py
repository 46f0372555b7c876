"""A worker's side of a benchmark: answer requests from the pipe. Standard library and numpy only: it runs anywhere."""

import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: Coordinates of an update are normal with this deviation, clipped to the bound.
DEVIATION, BOUND = 0.01, 0.05


def update_of(place: int, parameters: int) -> Any:
    """One holder's update, float32."""
    drawn = np.random.default_rng(place).standard_normal(parameters, dtype=np.float32)
    drawn *= DEVIATION
    return np.clip(drawn, -BOUND, BOUND, out=drawn)


def cpu(function: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and the seconds of processor time of this process."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def peak_mb(function: Callable[[], Any]) -> float:
    """By how many MB (10^6 bytes) the process's resident memory grew at most."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kb("VmRSS")
    function()
    return (_status_kb("VmHWM") - before) * 1024 / 1e6


def _status_kb(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise RuntimeError(f"no {name} in /proc/self/status")


class Scheme:
    """What each scheme of the comparison does; a worker's script fills it in.

    Args:
        parameters: Length of an update.
        holders: Number of updates in a sum.
        values_per_word: Of our schemes.
    """

    #: Whether a reply may be added again: then a few updates stand for many, when they are slow to make.
    copies = True

    def __init__(self, parameters: int, holders: int, values_per_word: int) -> None:
        self.parameters, self.holders, self.values_per_word = parameters, holders, values_per_word

    def encrypt(self, values: Any, place: int) -> Any:
        """From a holder's float32 values to the bytes it sends."""
        raise NotImplementedError

    def check(self, data: Any, place: int) -> Any:
        """Check who sent the bytes and what they are, where a scheme does; give what is added."""
        return data

    def start_sum(self) -> None:
        """Begin a new sum."""
        raise NotImplementedError

    def add(self, data: Any, place: int) -> None:
        """From one reply that was checked into the sum."""
        raise NotImplementedError

    def add_all(self, replies: list[tuple[Any, int]]) -> None:
        """All replies, where a scheme gains by having them together."""
        for data, place in replies:
            self.add(data, place)

    def finish_sum(self) -> Any:
        """The sum, ready to be sent to holders."""
        raise NotImplementedError

    def addition_s(self) -> float:
        """Of the last sum, the processor seconds that were the additions alone."""
        raise NotImplementedError

    def send(self, total: Any) -> Any:
        """The sum as bytes."""
        raise NotImplementedError

    def receive(self, data: Any) -> Any:
        """From the sum's bytes to what is decrypted, checked where a scheme checks."""
        raise NotImplementedError

    def decrypt(self, total: Any) -> Any:
        """From what was received to the mean or sum of updates, as :meth:`expected` has it."""
        raise NotImplementedError

    def expected(self, updates: list[Any]) -> Any:
        """What :meth:`decrypt` should give."""
        return np.sum(updates, axis=0, dtype=np.float64)


def serve(make: Callable[[int, int, int], Scheme]) -> None:
    """Answer the steps of a comparison until the pipe closes."""
    worker = _Serving(make)
    answer({"prepare": worker.prepare, "measure": worker.measure, "save": worker.save, "peak": worker.peak})


def answer(steps: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer the requests of a ``peers.Worker`` until the pipe closes."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = steps[request.pop("step")](**request)
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), flush=True)


class _Serving:
    def __init__(self, make: Callable[[int, int, int], Scheme]) -> None:
        self._make = make

    def prepare(self, parameters: int, holders: int, values_per_word: int, distinct: int) -> dict[str, Any]:
        """Have every holder's reply ready."""
        self.scheme = self._make(parameters, holders, values_per_word)
        self._updates = [update_of(place, parameters) for place in range(min(holders, distinct))]
        self._replies = [self.scheme.encrypt(update, place) for place, update in enumerate(self._updates)]
        return {"bytes_per_parameter": len(self._replies[0]) / parameters}

    def measure(self) -> dict[str, Any]:
        """One round, each step timed."""
        scheme, holders, replies = self.scheme, self.scheme.holders, self._replies
        _, encrypt_s = cpu(lambda: scheme.encrypt(self._updates[0], 0))
        each = [(replies[place % len(replies)], place) for place in range(holders)]
        checked, check_s = cpu(lambda: [(scheme.check(data, place), place) for data, place in each])
        scheme.start_sum()
        _, adding_s = cpu(lambda: scheme.add_all(checked))
        total, finish_s = cpu(scheme.finish_sum)
        data = scheme.send(total)
        received, receive_s = cpu(lambda: scheme.receive(data))
        result, opening_s = cpu(lambda: scheme.decrypt(received))
        expected = scheme.expected([self._updates[place % len(self._updates)] for _, place in each])
        return {
            "encrypt_s": encrypt_s,
            "check_s": check_s,
            "sum_s": adding_s + finish_s,
            "addition_s": scheme.addition_s(),
            "decrypt_s": receive_s + opening_s,
            "opening_s": opening_s,
            "max_abs_error": float(np.abs(np.asarray(result) - expected).max()),
        }

    def save(self, folder: str) -> dict[str, Any]:
        """Write the replies to files, for another worker to add."""
        for place, reply in enumerate(self._replies):
            Path(folder, str(place)).write_bytes(memoryview(reply))
        return {"replies": len(self._replies)}

    def peak(self, parameters: int, holders: int, values_per_word: int, folder: str, replies: int) -> dict[str, Any]:
        """The memory of a holder that encrypts, and of the coordinator that adds replies as they come."""
        small = self._make(10_000, holders, values_per_word)
        small.encrypt(update_of(0, 10_000), 0)  # loads what is loaded once
        scheme = self._make(parameters, holders, values_per_word)
        update = update_of(0, parameters)
        holder_mb = peak_mb(lambda: scheme.encrypt(update, 0))

        def add_all() -> Any:
            scheme.start_sum()
            for place in range(holders):
                data = Path(folder, str(place % replies)).read_bytes()
                scheme.add(scheme.check(data, place), place)
            return scheme.finish_sum()

        coordinator_mb = peak_mb(add_all)
        return {"peak_holder_mb": holder_mb, "peak_coordinator_mb": coordinator_mb}
