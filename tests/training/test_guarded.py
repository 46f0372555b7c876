"""Agreed guards in a whole run: what a replay, a scaled update and a late joiner come to."""

from types import SimpleNamespace

import numpy as np
import pytest

from fedjoint.errors import InvalidValue, RecordError
from fedjoint.runs.recompute import check_contributions
from fedjoint.training.local_update import LocalTrainer
from tests.fakes import LOCAL_PRIVACY, complete, gone, make_consortium

FOUR = {"ahus": 60, "bern": 45, "cork": 30, "delft": 40}
BY_SIZE = {"known_path": "by_size"}


def stated(parties, run):
    """What a record says of contributions, as :func:`check_contributions` reads it."""
    (facts,) = run.facts("contributions.opened")
    return SimpleNamespace(
        run_id=parties.session.run_id,
        valued=SimpleNamespace(
            parts=[SimpleNamespace(**part) for part in facts["parts"]],
            openers=facts["openers"],
            known=facts["known"],
            novel=facts["novel"],
            errors=(),
        ),
        contributions=facts["contributions"],
        contributors=tuple(run.contributors),
        rounds=run.rounds,
    )


def test_a_known_path_that_is_shared_by_size_leaves_the_sum_as_it_is():
    valued = complete(make_consortium(FOUR, flipped={"delft": 0.5}, rounds=6)).contributions
    parties = make_consortium(FOUR, flipped={"delft": 0.5}, rounds=6, valuation=BY_SIZE)
    run = complete(parties)
    shared = run.contributions
    assert sum(shared.by_holder.values()) == pytest.approx(sum(valued.by_holder.values()), rel=1e-3)
    assert shared.known[0] == 0 and sum(shared.known) > 0 and not any(valued.known)
    assert "give the contributions" in check_contributions(stated(parties, run), parties.agreement)


def test_a_replayed_step_is_worth_next_to_nothing(monkeypatch):
    honest = complete(make_consortium(FOUR, rounds=6, valuation=BY_SIZE)).contributions.by_holder
    parties = make_consortium(FOUR, rounds=6, valuation=BY_SIZE)
    last, real = [parties.start], LocalTrainer.update

    def update(self, model, round_number):
        if self.holder_id != "ahus":
            return real(self, model, round_number)
        before, last[0] = last[0], model.copy()
        return model - before

    monkeypatch.setattr(LocalTrainer, "update", update)
    run = complete(parties)
    found = run.contributions.by_holder
    assert abs(found["ahus"]) / sum(found.values()) < 0.01 * honest["ahus"] / sum(honest.values())


def test_noise_is_worth_nothing_where_an_update_has_a_bound(monkeypatch):
    agreed = {"rounds": 8, "valuation": BY_SIZE, "maximum_update_norm": 0.4, "hidden": (24,)}
    parties, real = make_consortium(FOUR, **agreed), LocalTrainer.update

    def update(self, model, round_number):
        if self.holder_id != "ahus":
            return real(self, model, round_number)
        noise = np.random.default_rng([4, round_number]).normal(size=model.size)
        return (0.4 * noise / np.linalg.norm(noise)).astype(np.float32)

    monkeypatch.setattr(LocalTrainer, "update", update)
    run = complete(parties)
    found = run.contributions.by_holder
    assert found["ahus"] <= 0 < min(value for holder, value in found.items() if holder != "ahus")
    check_contributions(stated(parties, run), parties.agreement)


def test_who_first_takes_part_after_the_agreed_round_counts_for_nothing():
    parties = make_consortium(valuation={"latest_start": 1})
    run = complete(parties, reachable=gone("cork", when=lambda kind, body: kind == "train" and body.round == 1))
    assert run.contributions.by_holder["cork"] == 0 != run.contributions.by_holder["bern"]
    record = stated(parties, run)
    check_contributions(record, parties.agreement)
    record.contributions = record.contributions | {"cork": 0.01}
    with pytest.raises(RecordError, match="'cork' is not what was opened and agreed"):
        check_contributions(record, parties.agreement)


def test_a_known_path_that_was_not_agreed_is_found():
    parties = make_consortium()
    record = stated(parties, complete(parties))
    for wrong in ([0.0, 0.5, 0.0], []):
        record.valued.known = wrong
        with pytest.raises(RecordError, match="another known path"):
            check_contributions(record, parties.agreement)


def test_a_canary_that_does_not_come_to_its_updates_is_found():
    parties = make_consortium()
    record = stated(parties, complete(parties))
    canary = record.valued.parts[0]
    canary.mask = str(int(canary.mask) + 1)
    with pytest.raises(RecordError, match="the canary of the contributions"):
        check_contributions(record, parties.agreement)


def test_a_longer_update_than_agreed_is_shortened():
    parties = make_consortium(maximum_update_norm=0.01)
    run = complete(parties)
    heard = parties.updates.of_round(1, run.contributors[0])
    weights = [parties.terms.weight(holder) for holder in run.contributors[0]]
    assert np.linalg.norm(heard, axis=1) == pytest.approx(0.01 * np.array(weights), rel=1e-2)


@pytest.mark.parametrize(
    ("agreed", "words"),
    [
        ({"maximum_update_norm": 1.0, "privacy": LOCAL_PRIVACY}, r"maximum_update_norm is set and privacy\.mode"),
        ({"maximum_update_norm": 0.0}, r"training\.maximum_update_norm = 0"),
        ({"valuation": BY_SIZE, "server_optimizer": "momentum"}, r"known_path = by_size and training\.server"),
        ({"valuation": BY_SIZE | {"method": "none"}}, r"valuation\.known_path or"),
        ({"valuation": {"latest_start": 0}}, r"valuation\.latest_start = 0"),
    ],
)
def test_guards_without_a_meaning_are_refused(agreed, words):
    with pytest.raises(InvalidValue, match=words):
        make_consortium(**agreed)
