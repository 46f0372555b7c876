"""A wiretap on every holder for a whole run: no plaintext update, record or secret key is in what it hears."""

import base64
from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.terms import EncryptionTerms
from fedjoint.training.plan import Parcel
from tests.fakes import LOCAL_PRIVACY, NO_PRIVACY, WIDTH, complete_over_grid, make_consortium

SCHEMES = ("seal", "seeded")
PRIVACY = {"none": NO_PRIVACY, "local": LOCAL_PRIVACY}


def windows(values, dtype):
    """Any two consecutive numbers of a vector as they would stand in memory: enough to betray it, and no accident."""
    data = np.asarray(values).astype(dtype)
    return {data[place : place + 2].tobytes() for place in range(len(data) - 1)}


def floats(name, vectors):
    found = {}
    for dtype in ("<f4", ">f4", "<f8", ">f8"):
        found[f"{name}, {dtype}"] = set().union(*(windows(vector, dtype) for vector in vectors))
    texts = {repr(float(value)) for vector in vectors for value in vector if len(repr(float(value))) > 8}
    return found | {f"{name}, text": {text.encode() for text in texts}}


def whole_numbers(name, vectors):
    found = {}
    for dtype in ("<u8", ">u8", "<i8", ">i8", "<u4", ">u4"):
        found[f"{name}, {dtype}"] = set().union(*(windows(vector, dtype) for vector in vectors))
    return found | {f"{name}, text": {",".join(map(str, vector.tolist())).encode() for vector in vectors}}


def pieces(data, size=48):
    """Parts of a secret at regular places: whatever holds all of it holds each of them."""
    return {data[start : start + size] for start in range(0, len(data) - size + 1, size)}


def key_needles(parties):
    key = parties.secret_key("ahus")
    coefficients, packed = key.coefficients(), key.pack()
    found = {}
    for dtype in ("i1", "<i4", "<i8", ">i8"):  # fewer than 48 coefficients could all be zero
        found[f"key, {dtype}"] = pieces(coefficients.astype(dtype).tobytes(), 48 * np.dtype(dtype).itemsize)
    found["key, packed"] = pieces(packed)
    found["key, packed, hex"] = pieces(packed.hex().encode())
    found["key, packed, base64"] = pieces(base64.b64encode(packed))
    secrets = [
        half.private_bytes_raw() for party in parties.identities.values() for half in (party._signing, party._sealing)
    ]
    found["a holder's own keys"] = set(secrets)
    found["a holder's own keys, hex"] = {secret.hex().encode() for secret in secrets}
    return found


def update_needles(parties, run):
    """Every update in the clear: as trained, as weighted, as rounded, and as levels."""
    parameters, terms = parties.session.parameters, parties.terms
    trained, weighted, rounded, levels = [], [], [], []
    for number, contributors in enumerate(run.contributors, start=1):
        for holder, heard in zip(contributors, parties.updates.of_round(number, contributors), strict=True):
            rounded.append(heard)
            levels.append(np.rint(heard / parameters.step + parameters.offset).astype(np.int64))
            if terms.privacy.mode == "none":  # with noise it cannot be trained a second time
                trainer = parties.holders[holder]._runs[parties.agreement.sha256]._trainer
                update = trainer.update(run.models[number - 1], number)
                trained.append(update)
                weighted.append(update.astype(float) * terms.weight(holder))
            else:
                trained.append(heard / terms.weight(holder))
                weighted.append(heard)
    found = floats("update", trained) | floats("weighted update", weighted) | floats("rounded update", rounded)
    signed = [level - parameters.offset for level in levels]
    return found | whole_numbers("levels", levels) | whole_numbers("signed levels", signed)


def record_needles(parties):
    rows = [row for records in parties.records.values() for row in records.features]
    return floats("record", rows)


def needles(parties, run):
    return key_needles(parties) | update_needles(parties, run) | record_needles(parties)


def heard(data, sought):
    """Names of what is found in the bytes."""
    return {name for name, patterns in sought.items() if any(pattern in data for pattern in patterns)}


def tapped_run(scheme="seal", privacy=NO_PRIVACY, **options):
    tape = {"up": [], "down": []}
    parties = make_consortium(privacy=privacy, encryption=EncryptionTerms(scheme=scheme, bound=8.0, value_bits=20))
    run, _ = complete_over_grid(parties, tap=lambda direction, *rest: tape[direction].append(rest), **options)
    return parties, run, tape


def joined(tape):
    return b"\n".join(data for messages in tape.values() for *_, data in messages)


@pytest.mark.parametrize("privacy", PRIVACY.values(), ids=PRIVACY)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_neither_updates_nor_records_nor_keys_cross_the_wire_in_either_direction(scheme, privacy):
    parties, run, tape = tapped_run(scheme, privacy)
    assert run.contributors == [("ahus", "bern", "cork")] * 3
    kinds = {(holder, kind) for holder, kind, _ in tape["up"]}
    assert {kind for _, kind in kinds} == {
        "query.join",
        "query.make_key",
        "query.take_key",
        "train",
        "query.confirm",
        "query.open_sum",
        "query.open_contributions",
    }
    assert {holder for holder, _ in kinds} == {"ahus", "bern", "cork"}
    assert heard(joined(tape), needles(parties, run)) == set()


def test_refusals_carry_nothing_either():
    reached = []

    def reachable(holder, message_type):
        reached.append((holder, message_type))
        return (holder, message_type) != ("bern", "train") or reached.count(("bern", "train")) != 2

    parties, run, tape = tapped_run(privacy=replace(LOCAL_PRIVACY, epsilon=1.4), reachable=reachable)
    assert run.coordinator.end.startswith("round 2 was not trained")
    assert any(b"privacy.budget_exhausted" in data for *_, data in tape["up"])
    assert heard(joined(tape), needles(parties, run)) == set()


def test_what_may_be_seen_is_seen_so_the_tap_is_on():
    """The sum of a round, which holders release, and the agreement are on the tape."""
    parties, run, tape = tapped_run()
    sums = []
    for number, contributors in enumerate(run.contributors, start=1):
        parameters = parties.session.parameters
        updates = parties.updates.of_round(number, contributors)
        levels = np.rint(updates / parameters.step + parameters.offset).astype(np.uint64)
        sums.append(levels.sum(axis=0).astype("<u8").tobytes())
    up = b"".join(data for *_, data in tape["up"])
    assert all(total in up for total in sums)
    assert any(parties.agreement.to_bytes() in data for *_, data in tape["down"])


@pytest.fixture(scope="module")
def quiet():
    parties, run, tape = tapped_run()
    return joined(tape), needles(parties, run)


def test_every_single_pattern_would_be_found_wherever_it_stood(quiet):
    """The positive control: without it, a search that finds nothing would say nothing."""
    data, sought = quiet
    rng = np.random.default_rng(0)
    for name, patterns in sought.items():
        assert patterns, name
        place = int(rng.integers(len(data)))
        pattern = sorted(patterns)[int(rng.integers(len(patterns)))]
        planted = data[place : place + 50_000] + pattern + data[place : place + 1_000]
        assert name in heard(planted, {name: patterns}), name


class Leaky:
    """A holder whose software sends something along that it should not."""

    leak = staticmethod(lambda holder, round_number: b"")

    def __init__(self, holder):
        self.holder = holder

    def answer(self, kind, parcel):
        reply = self.holder.answer(kind, parcel)
        if kind == "train" and self.holder.id == "bern":
            leaked = {"more": self.leak(self.holder, parcel.body.round)}
            return Parcel(body=reply.body, blobs={**reply.blobs, **leaked})
        return reply


def run_of(holder):
    (run,) = holder._runs.values()
    return run


LEAKS = {
    "key, packed": lambda holder, number: run_of(holder)._key.secret.pack(),
    "key, i1": lambda holder, number: run_of(holder)._key.secret.coefficients().tobytes(),
    "update, <f4": lambda holder, number: run_of(holder)._trainer.update(run_of(holder)._state.model, number).tobytes(),
    "rounded update, <f8": lambda holder, number: holder._observer.of_round(number, ["bern"]).tobytes(),
    "record, <f4": lambda holder, number: holder._examples.features.tobytes(),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_holder_that_leaks_is_heard(name):
    class Leaking(Leaky):
        leak = staticmethod(LEAKS[name])

    parties, run, tape = tapped_run(wrap=Leaking)
    assert name in heard(joined(tape), needles(parties, run))


def test_windows_are_long_enough_to_be_no_accident():
    assert WIDTH >= 2 and {len(pattern) for pattern in windows(np.arange(3.0), "<f4")} == {8}
