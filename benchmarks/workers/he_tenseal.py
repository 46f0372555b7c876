"""TenSEAL's CKKS vectors as its tutorials use them: one vector, the coordinator's context without the secret key."""

from typing import Any

import tenseal as ts
from serving import Scheme, cpu, serve


class NaiveCkks(Scheme):
    """N = 8192, [60, 40, 40], scale 2^40, public-key encryption."""

    def __init__(self, parameters: int, holders: int, values_per_word: int) -> None:
        super().__init__(parameters, holders, values_per_word)
        self._context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40])
        self._context.global_scale = 2**40
        self._public = ts.context_from(self._context.serialize(save_secret_key=False))

    def encrypt(self, values: Any, place: int) -> Any:
        """Encrypt and serialise; the context travels once and is not counted."""
        return ts.ckks_vector(self._context, values).serialize()

    def start_sum(self) -> None:
        """Nothing yet."""
        self._total: Any = None
        self._addition_s = 0.0

    def add(self, data: Any, place: int) -> None:
        """Deserialise and add."""
        vector = ts.ckks_vector_from(self._public, data)
        _, seconds = cpu(lambda: self._plus(vector))
        self._addition_s += seconds

    def _plus(self, vector: Any) -> None:
        if self._total is None:
            self._total = vector
        else:
            self._total += vector

    def finish_sum(self) -> Any:
        """The encrypted sum."""
        return self._total

    def addition_s(self) -> float:
        """Of the additions."""
        return self._addition_s

    def send(self, total: Any) -> Any:
        """Serialise."""
        return total.serialize()

    def receive(self, data: Any) -> Any:
        """Deserialise."""
        return ts.ckks_vector_from(self._context, data)

    def decrypt(self, total: Any) -> Any:
        """Decrypt by the holders' context."""
        return total.decrypt(self._context.secret_key())


if __name__ == "__main__":
    serve(NaiveCkks)
