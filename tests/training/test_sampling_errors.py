"""The error by the choice of reference records, from numbers that holders open, against every update in the clear."""

from dataclasses import replace

import numpy as np
import pytest

from fedjoint.encryption.opened import CANARY
from fedjoint.errors import EncryptionError, InvalidValue
from fedjoint.simulation.exact import holder_steps
from fedjoint.training.contributions import record_groups
from fedjoint.training.plan import ContributionsTask, Parcel, SampleToOpen
from fedjoint.valuation.encrypted_errors import OpenedError
from fedjoint.valuation.uncertainty import covariance_of_contrasts
from tests.fakes import (
    JOINT_ENCRYPTION,
    JOINT_PRIVACY,
    LOCAL_PRIVACY,
    NO_PRIVACY,
    complete,
    gone,
    in_round,
    make_consortium,
)

NUMBERS = 8
ERRORS = {"error_numbers": NUMBERS}
#: A model of 31 parameters: of four no eight numbers are opened.
HIDDEN = (6,)
FOUR = {"ahus": 60, "bern": 45, "cork": 30, "delft": 40}
MOMENTUM = {"server_optimizer": "momentum", "server_momentum": 0.7}
ADAM = {"server_optimizer": "adam", "server_momentum": 0.7, "server_learning_rate": 0.2, "server_tau": 0.1}


def opened_numbers(parties, run):
    """Holder to its numbers, as the record tells them."""
    found = {holder: np.zeros(NUMBERS) for holder in parties.terms.holder_ids}
    for facts in run.facts("contributions.opened")[0]["errors"]:
        found[facts["holder"]][facts["number"] - 1] = OpenedError(**facts).value(parties.terms.error_bits)
    return found


def true_numbers(parties, run):
    """The same from updates in the clear, along contrasts at the middle of each round's path."""
    groups, found = record_groups(parties.terms), {holder: np.zeros(NUMBERS) for holder in parties.terms.holder_ids}
    steps = holder_steps(parties.updates, run.contributors, parties.terms)
    for before, after, parts in zip(run.models, run.models[1:], steps, strict=False):
        middle = (before.astype(float) + after) / 2
        contrasts = parties.reference.contrast_gradients(middle, groups)
        for holder, part in parts.items():
            found[holder] += contrasts @ part
    return found


@pytest.mark.parametrize(
    "agreed",
    [
        {"privacy": NO_PRIVACY},
        {"privacy": replace(LOCAL_PRIVACY, insecure_seed=1)},
        {"privacy": NO_PRIVACY, "local_steps": 4, "learning_rate": 0.3, "proximal": 1.0},
        {"privacy": NO_PRIVACY, **MOMENTUM},
        {"privacy": replace(LOCAL_PRIVACY, insecure_seed=1), **ADAM},
    ],
    ids=["none", "local", "FedProx", "momentum", "local with Adam"],
)
def test_numbers_are_what_updates_really_sent_come_to_along_contrasts_of_records(agreed):
    parties = make_consortium(FOUR, flipped={"delft": 0.5}, rounds=6, hidden=HIDDEN, valuation=ERRORS, **agreed)
    run = complete(parties, reachable=gone("bern", when=in_round(3)))
    found, truth = opened_numbers(parties, run), true_numbers(parties, run)
    largest = max(np.abs(values).max() for values in truth.values())
    for holder, values in truth.items():
        assert found[holder] == pytest.approx(values, abs=0.01 * largest)
    assert run.contributions.sampling == covariance_of_contrasts({h: tuple(v) for h, v in found.items()})


def test_in_mode_joint_they_carry_noise_of_their_own():
    parties = make_consortium(
        FOUR,
        rounds=6,
        hidden=HIDDEN,
        valuation=ERRORS,
        privacy=JOINT_PRIVACY,
        encryption=replace(JOINT_ENCRYPTION, value_bits=22),
    )
    run = complete(parties)
    found, truth = opened_numbers(parties, run), true_numbers(parties, run)
    off = np.array([found[holder] - truth[holder] for holder in truth])
    stated = list(run.contributions.noise_errors.values())
    # contrasts are shorter than gradients, their noise is four times as large in units of their length
    assert 0.1 * np.mean(stated) < off.std() < 4 * np.mean(stated)
    assert len(np.unique(off.round(9))) == off.size


def test_a_holder_that_never_took_part_has_no_error():
    parties = make_consortium(FOUR, hidden=HIDDEN, valuation=ERRORS)
    run = complete(parties, reachable=gone("bern", when=lambda kind, body: kind == "train"))
    place = parties.terms.holder_ids.index("bern")
    assert run.contributions.by_holder["bern"] == 0.0
    assert set(run.contributions.sampling[place]) == {0.0} != set(run.contributions.sampling[0])


def test_each_is_opened_once_with_the_contributions_and_to_the_agreed_bits():
    parties = make_consortium(hidden=HIDDEN, valuation=ERRORS, privacy=LOCAL_PRIVACY)
    run = complete(parties)
    (facts,) = run.facts("contributions.opened")
    assert [(one["holder"], one["number"]) for one in facts["errors"]] == [
        (holder, number) for number in range(1, NUMBERS + 1) for holder in parties.holders
    ]
    assert all(0 <= one["opened"] < 1 << 16 for one in facts["errors"])
    assert len({one["mask"] for one in facts["errors"]}) == len(facts["errors"])
    samples = [f"{part['holder']}.{part['part']}" for part in facts["parts"]]
    samples += [f"{one['holder']}.error.{one['number']}" for one in facts["errors"]]
    values = [part["opened"] for part in facts["parts"]] + [str(one["opened"]) for one in facts["errors"]]
    for holder, signature in facts["openers"].items():
        parties.session.check(holder, "contributions", {"samples": samples, "values": values}, signature)


def test_without_an_agreement_on_them_none_is_opened_and_a_holder_refuses_to():
    parties = make_consortium()
    run = complete(parties)
    assert run.contributions.sampling is None and run.facts("contributions.opened")[0]["errors"] == []
    samples = (SampleToOpen(holder="bern", part=0, error=1),)
    task = ContributionsTask(**parties.session.address, samples=samples, confirmations={})
    with pytest.raises(EncryptionError, match="was not agreed; expected at most 0 of each holder"):
        parties.holders["ahus"].answer("open_contributions", Parcel(body=task))


def test_no_sample_has_parts_of_a_number_or_numbers_of_the_canary():
    assert SampleToOpen(holder="bern", part=0, error=16).blob == "bern.error.16"
    for wrong in ({"part": 1, "error": 1}, {"part": 0, "error": 17}, {"part": 0, "error": -1}):
        with pytest.raises(InvalidValue):
            SampleToOpen(holder="bern", **wrong)
    with pytest.raises(InvalidValue):
        SampleToOpen(holder=CANARY, part=0, error=1)


def test_where_gradients_grow_beyond_what_numbers_hold_the_error_is_not_stated(monkeypatch):
    parties = make_consortium(hidden=HIDDEN, valuation=ERRORS)
    monkeypatch.setattr("fedjoint.training.contributions.longest_projection", lambda terms, holder: 1e12)
    run = complete(parties)
    assert run.contributions.sampling is None and run.contributions.numbers_opened == 1
    assert run.facts("contributions.opened")[0]["errors"] == []


def test_with_the_contribution_fewer_numbers_of_a_holder_are_opened_than_its_update_has():
    assert make_consortium(valuation={"error_numbers": 2}).terms.num_parameters == 4
    with pytest.raises(InvalidValue, match="error_numbers = 3 and a model of 4 parameters; expected at most 2"):
        make_consortium(valuation={"error_numbers": 3})
