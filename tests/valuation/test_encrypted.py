from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.encryption import scratch
from fedjoint.encryption.binding import Binding
from fedjoint.encryption.decryption import open_sample
from fedjoint.encryption.keys import SecretKey
from fedjoint.encryption.opened import CANARY
from fedjoint.encryption.parameters import DEGREE, Parameters
from fedjoint.encryption.scheme import make_encryptor
from fedjoint.encryption.scratch import IN_MEMORY, Scratch, mapped
from fedjoint.errors import EncryptionError, ValuationError
from fedjoint.training.plan import MAX_PARTS
from fedjoint.valuation.encrypted import EncryptedContributions, OpenedContribution, contribution_of

SIZE = 50
PARAMETERS = Parameters(scheme="seeded", num_parameters=SIZE, max_holders=3, bound=1.0, value_bits=16, rounds=8)
COEFFICIENTS = np.random.default_rng(5).integers(-1, 2, DEGREE, dtype=np.int8)
BINDING = Binding(agreement_sha256="ab" * 32, run_id="cd" * 16)
KEY = SecretKey(COEFFICIENTS, PARAMETERS, BINDING)


class Exchange:
    """Holders who send random updates, and the coordinator's encrypted account of them beside the true one."""

    def __init__(self, holders=("ahus", "bern"), room=IN_MEMORY):
        self.rng = np.random.default_rng(1)
        self.encryptors = {holder: make_encryptor(SecretKey(COEFFICIENTS, PARAMETERS, BINDING)) for holder in holders}
        self.drawn = []
        self.account = EncryptedContributions(PARAMETERS, random_below=self.draw, scratch=room)
        self.truth = dict.fromkeys(holders, 0.0)
        self.sizes = []  # sum of the levels' absolute values, each round
        self.round = 0

    def draw(self, below):
        mask = int(self.rng.integers(below))
        self.drawn.append((below, mask))
        return mask

    def add_round(self, gradient, rate=1.5, holders=None):
        self.round += 1
        updates = {}
        for holder in holders or self.encryptors:
            levels = self.rng.integers(0, PARAMETERS.levels, SIZE).astype(np.uint64)
            signed = levels.astype(float) - PARAMETERS.offset
            updates[holder] = self.encryptors[holder].encrypt(levels, round_number=self.round, place=0)
            self.truth[holder] += rate * float(gradient @ (signed * PARAMETERS.step))
            self.sizes.append(np.abs(signed).sum())
        self.account.add_round(updates, gradient, rate=rate)

    def open(self, key=KEY):
        """What is opened of holders, without the canary."""
        masked = self.account.masked()
        opened, _ = self.account.opened(masked, [open_sample(key, item.sample) for item in masked])
        return tuple(part for part in opened if part.holder != CANARY)

    def contributions(self):
        opened = self.open()
        return {
            holder: contribution_of(
                [part for part in opened if part.holder == holder], plain_modulus=PARAMETERS.plain_modulus
            )
            for holder in self.truth
        }


def gradient(length, seed=0):
    direction = np.random.default_rng(seed).normal(size=SIZE)
    return length * direction / np.linalg.norm(direction)


def test_what_is_opened_is_the_plaintext_inner_product_within_the_rounding_of_its_weights():
    exchange = Exchange()
    for seed in range(4):
        exchange.add_round(gradient(0.3, seed))
    opened = exchange.open()
    for part in opened:
        found = contribution_of([part], plain_modulus=PARAMETERS.plain_modulus)
        # each weight is off by half a unit of 1 / factor at most, and by what the round before left, in every round
        assert abs(found - exchange.truth[part.holder]) <= sum(exchange.sizes) / 2 / part.factor
        assert found == pytest.approx(exchange.truth[part.holder], rel=2e-3)
    assert len(opened) == 2 and exchange.account.num_parts == 1


def test_a_holder_that_misses_a_round_is_valued_for_the_others():
    exchange = Exchange()
    exchange.add_round(gradient(0.3))
    exchange.add_round(gradient(0.3, 1), holders=["bern"])
    found = exchange.contributions()
    assert found == pytest.approx(exchange.truth, rel=2e-3)


def test_what_rounding_leaves_is_carried_on_so_that_rounds_alike_err_no_more_than_one():
    exchange, same = Exchange(holders=("ahus",)), np.random.default_rng(4).integers(0, PARAMETERS.levels, SIZE)
    exchange.rng = SimpleNamespace(integers=lambda *bounds: same if len(bounds) == 3 else 7)
    for seed in range(8):
        exchange.add_round(gradient(0.3, seed))
    (opened,) = exchange.open()
    found = contribution_of([opened], plain_modulus=PARAMETERS.plain_modulus)
    assert abs(found - exchange.truth["ahus"]) <= exchange.sizes[0] * 0.5 / opened.factor * (1 + 1e-9)


def test_gradients_within_twice_the_first_one_stay_in_one_number():
    exchange = Exchange()
    exchange.add_round(gradient(0.1))
    for seed in range(7):
        exchange.add_round(gradient(0.19, seed))
    assert exchange.account.num_parts == 1
    assert exchange.contributions() == pytest.approx(exchange.truth, rel=1e-2)


def test_a_gradient_far_longer_than_before_starts_a_new_number():
    exchange = Exchange()
    exchange.add_round(gradient(0.001))
    exchange.add_round(gradient(1.0, 1))
    exchange.add_round(gradient(0.5, 2))
    assert exchange.account.num_parts == 2
    opened = exchange.open()
    assert [(part.holder, part.part) for part in opened] == [("ahus", 0), ("bern", 0), ("ahus", 1), ("bern", 1)]
    for holder, truth in exchange.truth.items():
        parts = [part for part in opened if part.holder == holder]
        assert contribution_of(parts, plain_modulus=PARAMETERS.plain_modulus) == pytest.approx(truth, rel=1e-2)


def test_gradients_may_grow_some_thousand_times_before_there_are_more_numbers_than_holders_open():
    exchange = Exchange(holders=("ahus",))
    for power in range(8):
        exchange.add_round(gradient(1e-6 * 3.5**power))  # 3.5^7 is 6,433
    assert 1 < exchange.account.num_parts <= MAX_PARTS
    assert exchange.contributions() == pytest.approx(exchange.truth, rel=5e-2)


def test_a_round_without_gradient_opens_nothing():
    exchange = Exchange()
    exchange.add_round(np.zeros(SIZE))
    assert exchange.account.num_parts == 0 and exchange.open() == ()


def test_each_number_has_a_fresh_mask_below_the_plaintext_modulus():
    exchange = Exchange()
    exchange.add_round(gradient(0.001))
    exchange.add_round(gradient(1.0))
    opened = exchange.open()
    assert [below for below, _ in exchange.drawn] == [PARAMETERS.plain_modulus] * 5
    assert [part.mask for part in opened] == [mask for _, mask in exchange.drawn[1:]]  # the canary's comes first
    assert len(set(exchange.drawn)) == 5


def test_masks_come_from_the_operating_system_unless_a_test_says_otherwise():
    draws = [EncryptedContributions(PARAMETERS)._random_below(1 << 60) for _ in range(3)]
    assert len(set(draws)) == 3


def test_what_a_holder_opens_depends_on_the_mask_alone():
    exchange = Exchange(holders=("ahus",))
    exchange.add_round(gradient(0.3))
    (part,) = exchange.open()
    hidden = round(contribution_of([part], plain_modulus=PARAMETERS.plain_modulus) * part.factor)
    assert part.opened == (hidden + part.mask) % PARAMETERS.plain_modulus != hidden


def test_masks_are_used_once():
    exchange = Exchange()
    exchange.add_round(gradient(0.3))
    exchange.account.masked()
    with pytest.raises(ValuationError, match="masked before"):
        exchange.account.masked()


@pytest.mark.parametrize("value", [-1, PARAMETERS.plain_modulus])
def test_a_number_out_of_range_is_refused(value):
    exchange = Exchange(holders=("ahus",))
    exchange.add_round(gradient(0.3))
    with pytest.raises(EncryptionError, match="out of range"):
        exchange.account.opened(exchange.account.masked(), [value, 1])


@pytest.mark.parametrize("scheme", ["seeded", "seal"])
def test_the_canary_comes_to_the_number_of_updates_of_the_first_round(scheme):
    agreed = replace(PARAMETERS, scheme=scheme)
    account, updates = EncryptedContributions(agreed), {}
    for place, holder in enumerate(("ahus", "bern", "cork")):
        encryptor = make_encryptor(SecretKey(COEFFICIENTS, agreed, BINDING))
        updates[holder] = encryptor.encrypt(np.zeros(SIZE, np.uint64), round_number=1, place=place)
    account.add_round(updates, gradient(0.3), rate=1.0)
    masked = account.masked()
    key = SecretKey(COEFFICIENTS, agreed, BINDING)
    opened, _ = account.opened(masked, [open_sample(key, item.sample) for item in masked])
    (canary,) = [part for part in opened if part.holder == CANARY]
    assert (canary.part, canary.factor) == (0, 3.0)
    assert contribution_of([canary], plain_modulus=agreed.plain_modulus) == 1.0


def test_what_another_key_opens_is_refused_by_the_canary():
    exchange = Exchange()
    exchange.add_round(gradient(0.3))
    other = SecretKey(np.roll(COEFFICIENTS, 1), PARAMETERS, BINDING)
    with pytest.raises(ValuationError, match="do not decrypt to those of these updates under this key"):
        exchange.open(other)


@pytest.mark.parametrize("values", [[], [1], [1, 2, 3]])
def test_another_number_of_numbers_is_refused(values):
    exchange = Exchange(holders=("ahus",))
    exchange.add_round(gradient(0.3))
    with pytest.raises(ValuationError, match="opened numbers; expected 2"):
        exchange.account.opened(exchange.account.masked(), values)


def test_parameters_without_room_for_inner_products_are_refused():
    packed = Parameters(
        scheme="seeded", num_parameters=SIZE, max_holders=3, bound=1.0, value_bits=8, rounds=8, values_per_word=3
    )
    with pytest.raises(EncryptionError):
        EncryptedContributions(packed).add_round({}, gradient(1.0), rate=1.0)


@given(st.integers(-(2**40), 2**40 - 1), st.integers(0, 2**41 - 1), st.floats(1e-3, 1e9))
def test_a_mask_comes_off_whatever_it_is(value, mask, factor):
    part = OpenedContribution(holder="ahus", part=0, opened=(value + mask) % 2**41, mask=mask, factor=factor)
    assert contribution_of([part], plain_modulus=2**41) == value / factor


def test_a_holder_without_parts_contributed_nothing():
    assert contribution_of([], plain_modulus=2**41) == 0.0


def moved(exchange):
    """Hand the account over to another process."""
    (saved, polynomials), left = exchange.account.saved(), exchange.account.left
    exchange.account = EncryptedContributions(PARAMETERS, random_below=exchange.draw)
    exchange.account.restore(saved, polynomials)
    exchange.account.left = left


def test_an_account_that_is_taken_up_again_before_every_round_comes_to_the_same_numbers():
    whole, cut = Exchange(), Exchange()
    for number, length in enumerate((0.3, 0.2, 40.0, 30.0)):  # a second part begins
        whole.add_round(gradient(length, number))
        moved(cut)
        cut.add_round(gradient(length, number))
    assert cut.account.num_parts == 2
    cut.account.masked()
    moved(cut)
    again, masked = cut.account.masked(again=True), whole.account.masked()
    assert [(one.holder, one.part) for one in again] == [(one.holder, one.part) for one in masked]
    values = [[open_sample(KEY, item.sample) for item in items] for items in (again, masked)]
    sums = [
        [(part.opened - part.mask) % PARAMETERS.plain_modulus for part in account.opened(items, opened)[0]]
        for account, items, opened in zip((cut.account, whole.account), (again, masked), values, strict=True)
    ]
    assert sums[0] == sums[1]
    assert cut.account.noise_error("ahus", update_sd=1.0) == whole.account.noise_error("ahus", update_sd=1.0)


def test_weights_that_are_mapped_from_files_come_to_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "_PIECE", 7)
    accounts = []
    for room in (Scratch(folder=tmp_path, small_bytes=0), IN_MEMORY):
        exchange = Exchange(room=room)
        for number, length in enumerate((0.3, 0.2, 40.0)):  # a second part begins
            exchange.add_round(gradient(length, number))
        opened = exchange.open()
        values = [(part.opened - part.mask) % PARAMETERS.plain_modulus for part in opened]
        factors = [part.factor for part in opened]
        accounts.append((values, factors, exchange.account.noise_error("ahus", update_sd=1.0), exchange.account.left))
    assert mapped([accounts[0][-1]]) and not mapped([accounts[1][-1]])
    assert accounts[0][:3] == accounts[1][:3]
    np.testing.assert_array_equal(accounts[0][-1], accounts[1][-1])


def test_polynomials_that_are_not_those_of_the_facts_are_refused():
    exchange = Exchange()
    exchange.add_round(gradient(0.3))
    saved, polynomials = exchange.account.saved()
    with pytest.raises(ValuationError, match="not those that were kept with them"):
        EncryptedContributions(PARAMETERS).restore(saved, [one[:-1] for one in polynomials])
