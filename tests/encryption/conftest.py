from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import Ciphertext, add
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.tags import Contributors

Agree = Callable[..., Parameters]
BINDING = Binding(agreement_sha256="ab" * 32, run_id="cd" * 16)


@pytest.fixture(scope="session")
def agree() -> Agree:
    """Parameters with everything given that a test does not care about."""

    def make(**changes: Any) -> Parameters:
        usual = {
            "scheme": "seeded",
            "num_parameters": 10,
            "max_holders": 4,
            "bound": 1.0,
            "value_bits": 16,
            "rounds": 8,
        }
        return Parameters(**(usual | changes))

    return make


@pytest.fixture(scope="session")
def key_of() -> Callable[..., SecretKey]:
    """A key made of a seed: holders who share it each get an object of their own."""

    def make(parameters: Parameters, seed: int = 0) -> SecretKey:
        coefficients = np.random.default_rng(seed).integers(-1, 2, DEGREE, dtype=np.int8)
        return SecretKey(coefficients, parameters, BINDING)

    return make


@pytest.fixture(scope="session")
def encrypt_one(key_of: Callable[..., SecretKey]) -> Callable[..., Ciphertext]:
    """One holder's encryption in round 1 under the key of a seed."""

    def encrypt(levels: np.ndarray, parameters: Parameters, seed: int = 0, place: int = 0) -> Ciphertext:
        encryptor = make_encryptor(key_of(parameters, seed))
        return encryptor.encrypt(levels.astype(np.uint64), round_number=1, place=place)

    return encrypt


@pytest.fixture(scope="session")
def encrypted_sum(encrypt_one: Callable[..., Ciphertext]) -> Callable[..., Ciphertext]:
    """The sum of the rows of a matrix of levels, each encrypted by a holder of its own."""

    def encrypt(rows: np.ndarray, parameters: Parameters) -> Ciphertext:
        return add(encrypt_one(row, parameters, place=place) for place, row in enumerate(rows))

    return encrypt


@pytest.fixture(scope="session")
def by() -> Callable[[int], Contributors]:
    """The first so many holders, in round 1."""
    return lambda count: Contributors(round_number=1, places=tuple(range(count)))


@pytest.fixture
def binding() -> Iterator[Binding]:
    yield BINDING
