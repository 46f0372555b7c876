"""Plain float32 sums, as the floor of every comparison."""

from typing import Any

import numpy as np
from serving import Scheme, cpu, serve


class Plain(Scheme):
    """Nothing is encrypted."""

    def encrypt(self, values: Any, place: int) -> Any:
        """The values as they are."""
        return values.tobytes()

    def start_sum(self) -> None:
        """Nothing yet."""
        self._total: Any = None
        self._addition_s = 0.0

    def add(self, data: Any, place: int) -> None:
        """Add floats."""
        values = np.frombuffer(data, dtype="<f4")
        _, seconds = cpu(lambda: self._plus(values))
        self._addition_s += seconds

    def _plus(self, values: Any) -> None:
        if self._total is None:
            self._total = values.copy()
        else:
            self._total += values

    def finish_sum(self) -> Any:
        """The sum."""
        return self._total

    def addition_s(self) -> float:
        """Of the additions."""
        return self._addition_s

    def send(self, total: Any) -> Any:
        """Its bytes."""
        return total.tobytes()

    def receive(self, data: Any) -> Any:
        """Its floats."""
        return np.frombuffer(data, dtype="<f4")

    def decrypt(self, total: Any) -> Any:
        """There is nothing to decrypt."""
        return total


if __name__ == "__main__":
    serve(Plain)
