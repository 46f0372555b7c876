import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.encryption.binding import Binding
from fedjoint.encryption.decryption import open_coarse, open_sample
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.parameters import DEGREE, MAX_WEIGHT_NORM, MODULUS, Parameters
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.errors import EncryptionError, ValuationError
from fedjoint.strict import build, plain
from fedjoint.valuation.encrypted import EncryptedContributions
from fedjoint.valuation.encrypted_errors import EncryptedErrors, ErrorNoise, OpenedError, error_numbers_of
from fedjoint.valuation.saved import SavedContributions

SIZE, NUMBERS, BITS = 50, 3, 16
PARAMETERS = Parameters(scheme="seeded", num_parameters=SIZE, max_holders=3, bound=1.0, value_bits=16, rounds=8)
COEFFICIENTS = np.random.default_rng(5).integers(-1, 2, DEGREE, dtype=np.int8)
BINDING = Binding(agreement_sha256="ab" * 32, run_id="cd" * 16)
KEY = SecretKey(COEFFICIENTS, PARAMETERS, BINDING)


class Exchange:
    """Holders who send random updates, and the coordinator's encrypted numbers for errors beside the true ones."""

    def __init__(self, parameters=PARAMETERS, noise=None, holders=("ahus", "bern"), bits=BITS):
        self.rng, self.parameters, self.bits = np.random.default_rng(1), parameters, bits
        self.key = SecretKey(COEFFICIENTS, parameters, BINDING)
        self.encryptors = {holder: make_encryptor(SecretKey(COEFFICIENTS, parameters, BINDING)) for holder in holders}
        self.account = self.fresh(noise)
        self.truth = {holder: np.zeros(NUMBERS) for holder in holders}
        self.round = 0

    def fresh(self, noise=None):
        draw = lambda below: int(self.rng.integers(below))  # noqa: E731
        errors = EncryptedErrors(self.parameters, numbers=NUMBERS, bits=self.bits, noise=noise, random_below=draw)
        weight = None if noise is None else 1 << 15
        return EncryptedContributions(self.parameters, noise_weight=weight, errors=errors, random_below=draw)

    def add_round(self, contrasts, rate=1.5, holders=None, longest=1.0, blur=None):
        self.round += 1
        updates, width = {}, contrasts.shape[1]
        for holder in holders or self.encryptors:
            levels = self.rng.integers(0, self.parameters.levels, self.parameters.num_parameters).astype(np.uint64)
            if blur is not None:
                levels[width:] = self.parameters.offset + np.asarray(blur)
            signed = (levels.astype(float) - self.parameters.offset)[:width] * self.parameters.step
            updates[holder] = self.encryptors[holder].encrypt(levels, round_number=self.round, place=0)
            self.truth[holder] += rate * contrasts @ signed
            longest = max(longest, np.linalg.norm(signed))
        gradient = np.full(width, 0.1)
        self.account.add_round(
            updates, gradient, rate=rate, contrasts=list(contrasts), longest=dict.fromkeys(updates, longest)
        )

    def open(self):
        masked = self.account.masked(again=True)
        values = [
            open_coarse(self.key, item.sample, bits=self.bits) if item.error else open_sample(self.key, item.sample)
            for item in masked
        ]
        return self.account.opened(masked, values)[1]

    def numbers(self):
        opened = self.open()
        present = {one.holder for one in opened}
        found = error_numbers_of(opened, list(self.truth), took_part=present, numbers=NUMBERS, bits=self.bits)
        return found, max(one.span for one in opened) / 2**self.bits


def contrasts(length, seed=0, width=SIZE):
    return length * np.random.default_rng(seed).normal(size=(NUMBERS, width)) / width**0.5


def test_each_number_is_the_plaintext_inner_product_with_its_contrast_to_the_last_bit_that_is_opened():
    exchange = Exchange()
    for seed in range(4):
        exchange.add_round(contrasts(0.3, seed))
    found, last_bit = exchange.numbers()
    for holder, values in exchange.truth.items():
        # weights of a norm of 512 are off by half a unit in each of 50 coordinates at most
        assert np.abs(np.array(found[holder]) - values).max() <= last_bit + 0.02 * np.abs(values).max()


def test_a_holder_that_misses_a_round_has_the_numbers_of_the_others_and_one_that_misses_all_has_zeros():
    exchange = Exchange(holders=("ahus", "bern"))
    exchange.add_round(contrasts(0.3))
    exchange.add_round(contrasts(0.3, 1), holders=["bern"])
    exchange.truth["cork"] = np.zeros(NUMBERS)
    found, last_bit = exchange.numbers()
    for holder, values in exchange.truth.items():
        assert np.abs(np.array(found[holder]) - values).max() <= last_bit + 0.02 * np.abs(values).max()
    assert found["cork"] == (0.0,) * NUMBERS


def test_contrasts_that_grow_fiftyfold_stay_exact_in_one_number():
    exchange = Exchange()
    for seed, length in enumerate((0.01, 0.1, 0.5)):
        exchange.add_round(contrasts(length, seed))
    found, last_bit = exchange.numbers()
    for holder, values in exchange.truth.items():
        assert np.abs(np.array(found[holder]) - values).max() <= last_bit + 0.02 * np.abs(values).max()


def test_numbers_that_could_have_wrapped_are_not_opened():
    exchange = Exchange()
    exchange.add_round(contrasts(0.3), longest=1e9)
    assert exchange.open() == ()
    assert error_numbers_of((), ["ahus"], took_part=["ahus"], numbers=NUMBERS, bits=BITS) is None


def test_the_noise_of_each_number_is_that_of_its_own_two_coordinates():
    parameters = replace(PARAMETERS, num_parameters=SIZE + 2 * (1 + NUMBERS))
    noise = ErrorNoise(largest_norm=1 << 10, weigh=lambda norm: 3 * norm, sd=4.0)
    blurs = np.zeros((1 + NUMBERS, 2))
    blurs[1 + 1] = 20, 5  # of the second number
    quiet, blurred = Exchange(parameters, noise), Exchange(parameters, noise)
    for exchange, blur in ((quiet, np.zeros(8)), (blurred, blurs.reshape(-1))):
        exchange.add_round(contrasts(0.3), blur=blur.astype(np.int64))
    (same, last_bit), (other, _) = quiet.numbers(), blurred.numbers()
    moved = np.array(other["ahus"]) - np.array(same["ahus"])
    # 3 norms times 20 levels, and a level for each of five; all in levels of weights that are some 200 long
    weights = blurred.account._errors.weights(list(contrasts(0.3)), unit=1.5 * parameters.step)
    norms = np.linalg.norm([row[:SIZE] for row in weights.rows], axis=1)
    expected = (3 * np.ceil(norms[1]) * 20 + 5) / blurred.account._errors._factor
    assert moved[1] == pytest.approx(expected, abs=2 * last_bit)
    assert np.abs(moved[[0, 2]]).max() <= 2 * last_bit


def test_a_weight_of_noise_is_never_above_what_hides_residues():
    parameters = replace(PARAMETERS, num_parameters=SIZE + 2 * (1 + NUMBERS))
    noise = ErrorNoise(largest_norm=100, weigh=lambda norm: 3 * norm, sd=4.0)
    errors = EncryptedErrors(parameters, numbers=NUMBERS, bits=BITS, noise=noise)
    for length in (0.1, 0.4, 5.0, 100.0):
        weights = errors.weights(list(contrasts(length)), unit=1.0)
        assert all(int(row[SIZE:].max()) <= 300 for row in weights.rows)
        assert max(int(row[SIZE:].max()) for row in weights.rows) >= (300 if length > 0.3 else 75) / 2


@given(st.integers(0, MODULUS - 1), st.integers(0, 7))
def test_what_a_holder_sees_of_a_number_is_shifted_around_the_whole_circle_by_its_mask(mask, seed):
    exchange = Exchange()
    exchange.account._errors._random_below = lambda below: mask
    exchange.add_round(contrasts(0.3, seed))
    found, last_bit = exchange.numbers()
    assert np.abs(np.array(found["ahus"]) - exchange.truth["ahus"]).max() <= last_bit + 0.05


def test_masks_are_uniform_modulo_q_one_for_each_number_and_the_same_when_asked_again():
    exchange, drawn = Exchange(), []
    exchange.account._errors._random_below = lambda below: drawn.append(below) or len(drawn)
    exchange.add_round(contrasts(0.3))
    first = exchange.open()
    assert drawn == [MODULUS] * NUMBERS * 2
    assert exchange.open() == first and len(drawn) == NUMBERS * 2


def test_numbers_are_kept_between_two_processes():
    exchange = Exchange()
    exchange.add_round(contrasts(0.3))
    exchange.account.masked()
    facts, polynomials = exchange.account.saved()
    restored = exchange.fresh()
    kept = build(SavedContributions, json.loads(json.dumps(plain(facts))), error=ValuationError, where="kept")
    restored.restore(kept, polynomials)
    before, exchange.account = exchange.open(), restored
    assert exchange.open() == before
    with pytest.raises(ValuationError, match="not those that were kept"):
        restored.restore(kept, [*polynomials[:-1], polynomials[-1][:-8]])


@pytest.mark.parametrize(
    "changed",
    [
        {"holder": "dora"},
        {"number": 0},
        {"number": NUMBERS + 1},
        {"number": 1},
        {"opened": 1 << BITS},
        {"opened": -1},
        {"mask": str(MODULUS)},
        {"mask": "1e3"},
    ],
)
def test_numbers_that_no_run_opens_are_refused(changed):
    numbers = [OpenedError(holder="ahus", number=number, opened=3, mask="0", span=1.0) for number in (1, 2, 3)]
    numbers[1] = replace(numbers[1], **changed)
    with pytest.raises((ValuationError, EncryptionError)):
        error_numbers_of(numbers, ["ahus"], took_part=["ahus"], numbers=NUMBERS, bits=BITS)
    with pytest.raises(ValuationError, match="missing"):
        error_numbers_of(numbers[:1], ["ahus"], took_part=["ahus"], numbers=NUMBERS, bits=BITS)


def test_weights_of_large_models_are_exact_block_by_block():
    parameters = replace(PARAMETERS, num_parameters=200_000)
    errors = EncryptedErrors(parameters, numbers=1, bits=BITS)
    spread = np.ones(200_000)
    weights = errors.weights([spread], unit=1.0)
    assert np.linalg.norm(weights.rows[0]) == pytest.approx(512 * (49 / 16) ** 0.5, rel=0.4)
    peak = np.zeros(200_000)
    peak[7] = 1e6
    weights = errors.weights([peak], unit=1.0)
    assert weights.doublings and abs(weights.rows[0]).max() <= MAX_WEIGHT_NORM


def test_numbers_of_a_holder_that_took_part_are_not_left_out():
    opened = [OpenedError(holder="ahus", number=number, opened=3, mask="0", span=1.0) for number in (1, 2, 3)]
    with pytest.raises(ValuationError, match="missing"):
        error_numbers_of(opened, ["ahus", "bern"], took_part=["ahus", "bern"], numbers=NUMBERS, bits=BITS)
    found = error_numbers_of(opened, ["ahus", "bern"], took_part=["ahus"], numbers=NUMBERS, bits=BITS)
    assert found["bern"] == (0.0,) * NUMBERS


def test_contrasts_that_shrink_twentyfold_are_rounded_without_bias():
    size = 100_000
    errors = EncryptedErrors(replace(PARAMETERS, num_parameters=size), numbers=1, bits=BITS)
    errors.weights([contrasts(1.0, width=size)[0]], unit=1.0)
    small = contrasts(0.05, seed=1, width=size)[0]
    (row,) = errors.weights([small], unit=1.0).rows
    kept = float(row @ small) / (errors._factor * float(small @ small))
    assert kept == pytest.approx(1.0, abs=0.1)  # rounded to the nearest it would be none


def test_first_weights_leave_room_for_all_rounds_of_the_largest_updates():
    parameters = replace(PARAMETERS, rounds=1000)
    errors = EncryptedErrors(parameters, numbers=1, bits=BITS)
    longest = parameters.plain_modulus / 1e6
    (row,) = errors.weights([contrasts(1.0)[0]], unit=1.0, longest=longest).rows
    assert np.linalg.norm(row) * longest * 1000 < parameters.plain_modulus / 8
