"""Both schemes of fedjoint, as holders and coordinator use them: quantised, encrypted, tagged, framed and signed."""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from serving import BOUND, Scheme, cpu, serve

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import Accumulator
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.fixed_point import Update
from fedjoint.encryption.frames import FrameHeader, FrameWriter, pack_frame, parse_frame
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.tags import Contributors
from fedjoint.identity.keys import Identity

BINDING = Binding(agreement_sha256="ab" * 32, run_id="cd" * 16)
VALUE_BITS = {1: 16, 2: 16, 3: 8, 4: 8}


def known_identity() -> Identity:
    """A sender whose keys every worker of the benchmark knows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "holder.json")
        path.touch(mode=0o600)
        path.write_text(json.dumps({"id": "holder", "name": "Holder", "signing": "01" * 32, "sealing": "02" * 32}))
        return Identity.load(path)


class Fedjoint(Scheme):
    """One of our schemes; frames are checked apart from the sum, as no peer checks anything."""

    copies = False

    def __init__(self, scheme: str, parameters: int, holders: int, values_per_word: int) -> None:
        super().__init__(parameters, holders, values_per_word)
        self._agreed = Parameters(
            scheme=scheme,  # type: ignore[arg-type]
            num_parameters=parameters,
            max_holders=holders,
            bound=BOUND,
            value_bits=VALUE_BITS[values_per_word],
            rounds=1,
            values_per_word=values_per_word,
        )
        self._coefficients = np.random.default_rng(0).integers(-1, 2, DEGREE, dtype=np.int8)
        self._sender = known_identity()
        self._key = self._new_key()
        self._header = FrameHeader(kind="update", binding=BINDING, round_number=1, key_id=self._key.key_id)

    def _new_key(self) -> SecretKey:
        return SecretKey(self._coefficients, self._agreed, BINDING)

    def encrypt(self, values: Any, place: int) -> Any:
        """From values to a signed frame; each holder has a key object of its own."""
        update = Update(values=values, parameters=self._agreed, rounding=np.random.default_rng(place), clip=True)
        frame = FrameWriter(self._header, sender=self._sender, parameters=self._agreed)
        encryptor = make_encryptor(self._new_key())
        return frame.finish(encryptor.encrypt(update, round_number=1, place=place, into=frame.body)).data

    def check(self, data: Any, place: int) -> Any:
        """Header, length, signature, and every word below q."""
        raw = np.frombuffer(data, dtype=np.uint8)
        return parse_frame(raw, expected=self._header, sender=self._sender.public, parameters=self._agreed)

    def start_sum(self) -> None:
        """An empty sum."""
        self._sum = Accumulator(self._agreed)
        self._addition_s = 0.0

    def add(self, data: Any, place: int) -> None:
        """Add words."""
        self.add_all([(data, place)])

    def add_all(self, replies: list[tuple[Any, int]]) -> None:
        """Add words, block by block."""
        _, seconds = cpu(lambda: self._sum.add(*(data for data, _ in replies)))
        self._addition_s += seconds

    def finish_sum(self) -> Any:
        """The sum."""
        total, seconds = cpu(self._sum.total)
        self._addition_s += seconds
        return total

    def addition_s(self) -> float:
        """Of the additions and the reduction."""
        return self._addition_s

    def send(self, total: Any) -> Any:
        """The signed frame of the sum."""
        return pack_frame(total, header=replace(self._header, kind="sum"), sender=self._sender)

    def receive(self, data: Any) -> Any:
        """Header, length, signature, and every word below q."""
        expected = replace(self._header, kind="sum")
        return parse_frame(data, expected=expected, sender=self._sender.public, parameters=self._agreed)

    def decrypt(self, total: Any) -> Any:
        """From the sum to floats, its tags checked."""
        return decrypt_sum(
            self._key,
            total,
            of=Contributors(round_number=1, places=tuple(range(self.holders))),
            minimum_holders=2,
            into=np.empty(self.parameters, dtype=np.float32),
        )


if __name__ == "__main__":
    serve(lambda *arguments: Fedjoint(sys.argv[1], *arguments))
