"""No secret key can be reached from anything that the coordinator holds, and it needs no library that could use one."""

import gc
import subprocess
import sys
import types

import numpy as np
import pytest

from fedjoint.encryption.keys import SecretKey
from fedjoint.identity.keys import Identity
from fedjoint.training.holder import Holder
from fedjoint.transport.inline import InlineGrid
from tests.fakes import complete_over_grid, make_consortium

#: Where a key could be used; no object of theirs belongs on the coordinator's side.
KEY_MODULES = (
    "fedjoint.encryption.keys",
    "fedjoint.encryption.scheme",
    "fedjoint.encryption.seeded",
    "fedjoint.encryption.tenseal_scheme",
    "tenseal",
)


def everything_from(roots, *, beyond=()):
    """All objects that can be reached, up to modules and what a type in ``beyond`` leads to.

    The Grid is where the coordinator's machine ends: only because all parties share this process does it lead further.
    """
    seen, waiting, found = set(), list(roots), []
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, types.ModuleType) or is_namespace_of_module(thing):
            continue
        seen.add(id(thing))
        found.append(thing)  # kept, so that no id is used twice
        if not isinstance(thing, beyond):
            waiting += gc.get_referents(thing)
    return found


def is_namespace_of_module(thing):
    return type(thing) is dict and "__name__" in thing and "__builtins__" in thing


def betrays(thing, packed, plain):
    """Whether an object is a key, or holds its packed bytes or coefficients in any of their forms."""
    if isinstance(thing, SecretKey) or type(thing).__module__.startswith(KEY_MODULES):
        return not isinstance(thing, type)
    if isinstance(thing, str):
        return packed.hex() in thing
    if isinstance(thing, (bytes, bytearray, memoryview)):
        data = bytes(thing)
        return packed in data or plain.tobytes() in data or packed.hex().encode() in data
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "iuf" and thing.size >= plain.size:
        flat = thing.reshape(-1)[: plain.size]
        return packed in thing.tobytes() or np.array_equal(flat.astype(float), plain.astype(float))
    return False


def traitors(roots, key, *, beyond=(InlineGrid,)):
    packed, plain = key.pack(), key.coefficients()
    return [thing for thing in everything_from(roots, beyond=beyond) if betrays(thing, packed, plain)]


@pytest.fixture(scope="module")
def finished():
    parties = make_consortium()
    run, channel = complete_over_grid(parties)
    return parties, run, channel


def coordinators_things(finished):
    parties, run, channel = finished
    return [run.coordinator, channel, run.events, run.rounds, parties.session, parties.coordinator]


def test_no_key_can_be_reached_from_the_coordinator(finished):
    key = finished[0].secret_key("ahus")
    assert traitors(coordinators_things(finished), key) == []


def test_no_holder_and_no_private_keys_but_its_own_can_be_reached_from_the_coordinator(finished):
    found = everything_from(coordinators_things(finished), beyond=(InlineGrid,))
    assert not [thing for thing in found if isinstance(thing, Holder)]
    assert {thing.id for thing in found if isinstance(thing, Identity)} == {"exchange"}


def test_the_search_goes_deep_enough_to_find_what_the_coordinator_does_hold(finished):
    parties, run, _ = finished
    found = {id(thing) for thing in everything_from(coordinators_things(finished), beyond=(InlineGrid,))}
    samples = run.coordinator._valuation._encrypted._parts[0].samples
    for deep in (
        samples["cork"].a,
        run.coordinator.model,
        parties.terms.holders[2],
        parties.reference.examples.features,
    ):
        assert id(deep) in found


def test_the_search_finds_the_key_where_it_is(finished):
    parties, _, channel = finished
    key = parties.secret_key("ahus")
    assert any(isinstance(thing, SecretKey) for thing in traitors([parties.holders["ahus"]], key))
    # across the grid, which in one process leads to the holders
    assert any(isinstance(thing, SecretKey) for thing in traitors([channel], key, beyond=()))


PLANTS = {
    "the key itself": lambda key: {"deep": [key]},
    "its packed bytes": lambda key: ({"deep": [b"before" + key.pack() + b"after"]},),
    "its packed bytes as text": lambda key: f"key {key.pack().hex()}",
    "its coefficients": lambda key: [key.coefficients()],
    "its coefficients as other numbers": lambda key: [key.coefficients().astype(np.float64).reshape(64, 64)],
    "a function that closes over it": lambda key: lambda: key,
    "a method bound to it": lambda key: key.multiply,
    "its raw memory": lambda key: bytearray(key.coefficients().tobytes()),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_the_search_finds_whatever_is_planted_in_the_coordinator(finished, plant):
    parties, run, _ = finished
    key = parties.secret_key("bern")
    run.coordinator.planted = plant(key)
    try:
        assert traitors(coordinators_things(finished), key)
    finally:
        del run.coordinator.planted


def loaded_by(*modules):
    code = f"import sys, {', '.join(modules)}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


def test_the_coordinators_modules_load_no_encryption_library_and_nothing_that_trains():
    loaded = loaded_by(
        "fedjoint.training.coordinator", "fedjoint.training.contributions", "fedjoint.valuation.encrypted"
    )
    assert "fedjoint.encryption.ciphertext" in loaded
    unwanted = {"tenseal", "torch", "opacus", "fedjoint.encryption.tenseal_scheme", "fedjoint.encryption.decryption"}
    assert not loaded & unwanted


def test_the_scheme_that_holders_use_does_load_it():
    assert "tenseal" in loaded_by("fedjoint.encryption.tenseal_scheme")
