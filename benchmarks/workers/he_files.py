"""One step of a round from file to file, and by how much the process that did it grew."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from fedjoint.encryption.files import new_array_file, read_array_file
from fedjoint.encryption.frame_files import new_frame_file, read_frame_file, write_sum_file
from he_fedjoint import BINDING, VALUE_BITS, known_identity
from serving import BOUND, DEVIATION, answer, peak_mb

from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.fixed_point import Update
from fedjoint.encryption.frames import FrameHeader
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.tags import Contributors


class Files:
    """A round of ``holders`` holders in one folder."""

    def __init__(self, folder: str, scheme: str, parameters: int, holders: int, values_per_word: int) -> None:
        self._folder, self._holders = Path(folder), holders
        self._agreed = Parameters(
            scheme=scheme,  # type: ignore[arg-type]
            num_parameters=parameters,
            max_holders=holders,
            bound=BOUND,
            value_bits=VALUE_BITS[values_per_word],
            rounds=1,
            values_per_word=values_per_word,
        )
        coefficients = np.random.default_rng(0).integers(-1, 2, DEGREE, dtype=np.int8)
        self._key, self._party = SecretKey(coefficients, self._agreed, BINDING), known_identity()

    def _header(self, kind: Any) -> FrameHeader:
        return FrameHeader(kind=kind, binding=BINDING, round_number=1, key_id=self._key.key_id)

    def _read(self, name: str, kind: str) -> Any:
        expected = self._header(kind)
        return read_frame_file(
            self._folder / name, expected=expected, sender=self._party.public, parameters=self._agreed
        )

    def draw(self) -> None:
        """Write each holder's values to a file, a piece at a time."""
        for place in range(self._holders):
            rng = np.random.default_rng(place)
            with (self._folder / f"values-{place}").open("wb") as file:
                for start in range(0, self._agreed.num_parameters, 1 << 20):
                    count = min(1 << 20, self._agreed.num_parameters - start)
                    drawn = rng.standard_normal(count, dtype=np.float32) * np.float32(DEVIATION)
                    file.write(np.clip(drawn, -BOUND, BOUND).tobytes())

    def encrypt(self, place: int) -> None:
        """From values to a signed frame."""
        values = read_array_file(self._folder / f"values-{place}", dtype="<f4")
        update = Update(values=values, parameters=self._agreed, rounding=np.random.default_rng(place), clip=True)
        encryptor = make_encryptor(self._key)
        with new_frame_file(
            self._folder / f"update-{place}",
            header=self._header("update"),
            sender=self._party,
            parameters=self._agreed,
        ) as frame:
            frame.finish(encryptor.encrypt(update, round_number=1, place=place, into=frame.body))

    def sum(self) -> None:
        """From frames to the signed frame of their sum."""
        updates = [self._read(f"update-{place}", "update") for place in range(self._holders)]
        write_sum_file(self._folder / "sum", updates, header=self._header("sum"), sender=self._party)

    def decrypt(self) -> None:
        """From the sum to floats."""
        of = Contributors(round_number=1, places=tuple(range(self._holders)))
        with new_array_file(self._folder / "result", dtype="<f4", size=self._agreed.num_parameters) as sums:
            decrypt_sum(self._key, self._read("sum", "sum"), of=of, minimum_holders=2, into=sums)

    def error(self) -> float:
        """The largest difference to the sum of the values."""
        result, worst = read_array_file(self._folder / "result", dtype="<f4"), 0.0
        values = [read_array_file(self._folder / f"values-{place}", dtype="<f4") for place in range(self._holders)]
        for start in range(0, result.size, 1 << 20):
            part = slice(start, start + (1 << 20))
            exact = np.sum([one[part] for one in values], axis=0, dtype=np.float64)
            worst = max(worst, float(np.abs(result[part] - exact).max()))
        return worst


def step(what: str, size: list[Any], place: int = 0) -> dict[str, Any]:
    """Do one step; small ones of the same kind come first, so that what is loaded once is not counted."""
    if what in ("draw", "error"):
        return {"result": getattr(Files(*size), what)()}
    folder, scheme, _, holders, values_per_word = size
    small_folder = Path(folder, "small")
    small_folder.mkdir(exist_ok=True)
    small = Files(str(small_folder), scheme, 200_000, holders, values_per_word)
    small.draw()
    for other in range(holders):
        Files(str(small_folder), scheme, 200_000, holders, values_per_word).encrypt(other)
    small.sum()
    small.decrypt()
    files = Files(*size)
    arguments = (place,) if what == "encrypt" else ()
    start_cpu, start = time.process_time(), time.perf_counter()
    peak = peak_mb(lambda: getattr(files, what)(*arguments))
    return {
        "peak_mb": peak,
        "cpu_s": time.process_time() - start_cpu,
        "elapsed_s": time.perf_counter() - start,
    }


if __name__ == "__main__":
    answer({"step": step})
