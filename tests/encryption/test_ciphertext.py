import numpy as np
import pytest

from fedjoint.encryption.ciphertext import Accumulator, Ciphertext, add, second_polynomials
from fedjoint.encryption.packing import blocks
from fedjoint.encryption.parameters import DEGREE, MODULUS
from fedjoint.encryption.streams import keystream, uniform_words
from fedjoint.errors import EncryptionError

SCHEMES = pytest.mark.parametrize("scheme", ["seal", "seeded"])


def made(agreed, number, count=1):
    """A ciphertext of arbitrary words, different for each number."""
    rng = np.random.default_rng(number)
    c0 = rng.integers(0, MODULUS, agreed.num_words, dtype=np.uint64)
    if agreed.scheme == "seal":
        c1 = rng.integers(0, MODULUS, (agreed.num_polynomials, DEGREE), dtype=np.uint64)
        return Ciphertext(parameters=agreed, count=count, c0=c0, c1=c1)
    seeds = tuple(rng.bytes(32) for _ in range(count))
    return Ciphertext(parameters=agreed, count=count, c0=c0, seeds=seeds)


@SCHEMES
def test_a_sum_adds_words_modulo_q_and_counts(agree, scheme):
    agreed = agree(scheme=scheme, num_parameters=5_000)
    parts = [made(agreed, number) for number in range(4)]
    total = add(parts)
    assert total.count == 4
    assert total.c0.tolist() == [sum(map(int, column)) % MODULUS for column in zip(*(p.c0 for p in parts), strict=True)]
    if scheme == "seal":
        words = (sum(p.c1.astype(object) for p in parts)) % MODULUS
        assert total.c1.tolist() == words.tolist()
    else:
        assert total.seeds == tuple(p.seeds[0] for p in parts)


@SCHEMES
def test_sums_of_sums_are_sums(agree, scheme):
    agreed = agree(scheme=scheme)
    parts = [made(agreed, number) for number in range(4)]
    assert add([add(parts[:2]), add(parts[2:])]).c0.tolist() == add(parts).c0.tolist()


@SCHEMES
def test_a_running_sum_leaves_its_inputs_alone(agree, scheme):
    agreed = agree(scheme=scheme)
    first, second = made(agreed, 1), made(agreed, 2)
    before = first.c0.tolist()
    running = Accumulator(agreed)
    running.add(first)
    running.add(second)
    assert running.total().c0.tolist() != before == first.c0.tolist()
    assert running.count == 2


@SCHEMES
def test_nothing_is_added_to_a_sum_that_was_taken(agree, scheme):
    agreed = agree(scheme=scheme)
    running = Accumulator(agreed)
    running.add(made(agreed, 1))
    taken = running.total()
    before = taken.c0.tolist()
    with pytest.raises(EncryptionError, match="was taken"):
        running.add(made(agreed, 2))
    assert taken.c0.tolist() == before == running.total().c0.tolist()


@SCHEMES
def test_a_copy_too_many_updates_or_other_parameters_are_refused_and_change_nothing(agree, scheme):
    agreed = agree(scheme=scheme)
    running = Accumulator(agreed)
    for number in range(3):
        running.add(made(agreed, number))
    for wrong, word in (
        (made(agreed, 1), "in the sum already"),
        (made(agreed, 9, count=2), "at most 4"),
        (made(agree(scheme=scheme, rounds=9), 5), "other parameters"),
    ):
        with pytest.raises(EncryptionError, match=word):
            running.add(wrong)
    assert running.count == 3
    assert running.total().c0.tolist() == add(made(agreed, number) for number in range(3)).c0.tolist()


@SCHEMES
def test_sums_of_two_hundred_largest_words_never_reach_the_end_of_a_word(agree, scheme):
    agreed = agree(scheme=scheme, max_holders=200)
    running, words = Accumulator(agreed), np.full(agreed.num_words, MODULUS - 1, dtype=np.uint64)
    for number in range(200):
        if scheme == "seal":
            c1 = np.full((1, DEGREE), MODULUS - 1, dtype=np.uint64)
            c1[0, 0] = number
            running.add(Ciphertext(parameters=agreed, count=1, c0=words, c1=c1))
        else:
            running.add(Ciphertext(parameters=agreed, count=1, c0=words, seeds=(bytes([number]) * 32,)))
    assert set(running.total().c0.tolist()) == {MODULUS - 200}
    if scheme == "seal":
        assert set(running.total().c1[0, 1:].tolist()) == {MODULUS - 200}


def test_second_polynomials_of_forty_seeds_are_the_sum_of_their_streams(agree):
    agreed = agree(max_holders=40)
    seeds = tuple(bytes([number]) * 32 for number in range(40))
    (block,) = blocks(agreed)
    total = Ciphertext(parameters=agreed, count=40, c0=np.zeros(agreed.num_words, dtype=np.uint64), seeds=seeds)
    streams = [
        uniform_words(keystream(seed, purpose="second", block=0, public=True), DEGREE).astype(object) for seed in seeds
    ]
    assert second_polynomials(total, block)[0].tolist() == (sum(streams) % MODULUS).tolist()


def test_the_sum_of_nothing_is_refused(agree):
    with pytest.raises(EncryptionError, match="no updates"):
        add([])
    with pytest.raises(EncryptionError, match="no updates"):
        Accumulator(agree()).total()


def test_arrays_that_do_not_fit_the_parameters_are_refused(agree):
    seeded, seal = agree(), agree(scheme="seal")
    words, full = np.zeros(13, dtype=np.uint64), np.zeros((1, DEGREE), dtype=np.uint64)
    for wrong in (
        {"parameters": seeded, "count": 1, "c0": words},
        {"parameters": seeded, "count": 1, "c0": words[:12], "seeds": (bytes(32),)},
        {"parameters": seeded, "count": 1, "c0": words.astype(np.int64), "seeds": (bytes(32),)},
        {"parameters": seeded, "count": 1, "c0": words, "seeds": (bytes(31),)},
        {"parameters": seeded, "count": 2, "c0": words, "seeds": (bytes(32), bytes(32))},
        {"parameters": seeded, "count": 1, "c0": words, "c1": full, "seeds": (bytes(32),)},
        {"parameters": seeded, "count": 0, "c0": words},
        {"parameters": seal, "count": 1, "c0": words},
        {"parameters": seal, "count": 5, "c0": words, "c1": full},
        {"parameters": seal, "count": 1, "c0": words, "c1": full[:, :5]},
        {"parameters": seal, "count": 1, "c0": words, "c1": full, "seeds": (bytes(32),)},
    ):
        with pytest.raises(EncryptionError, match="do not fit"):
            Ciphertext(**wrong)
