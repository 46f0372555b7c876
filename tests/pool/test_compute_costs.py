from __future__ import annotations

import dataclasses

import pytest

from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import IdentityError, PoolError
from fedjoint.identity.keys import Identity
from fedjoint.pool.compute_costs import MeteredCosts, costs_minor, sign_costs
from fedjoint.runs.recorded import RecordedRun, SummedRound

BERN, CORK = Identity.create("bern", "Bern"), Identity.create("cork", "Cork")
AGREEMENT = "ab" * 32
TERMS = MoneyTerms(cpu_hour_minor=360, gpu_hour_minor=7_200, compute_seconds_per_round=1_000)
COSTS = MeteredCosts(holder="bern", run_id="run-1", agreement_sha256=AGREEMENT, cpu_seconds=1_999, gpu_seconds=100)
CIRCUMSTANCES = {"agreement_sha256": AGREEMENT, "rounds": {"run-1": 2}, "terms": TERMS}


def test_costs_are_seconds_at_agreed_rates_rounded_down():
    assert costs_minor(sign_costs(COSTS, BERN), BERN.public, **CIRCUMSTANCES) == 199 + 200


def test_no_more_can_be_claimed_than_the_recorded_rounds_allow():
    for change in ({"cpu_seconds": 2_001}, {"gpu_seconds": 2_001}):
        signed = sign_costs(dataclasses.replace(COSTS, **change), BERN)
        with pytest.raises(PoolError, match=r"claims 2001 .PU seconds"):
            costs_minor(signed, BERN.public, **CIRCUMSTANCES)


@pytest.mark.parametrize(
    "change", [{"run_id": "run-2"}, {"agreement_sha256": "cd" * 32}], ids=["another run", "another agreement"]
)
def test_costs_of_another_run_or_agreement_are_refused(change):
    with pytest.raises(PoolError, match="the costs are of"):
        costs_minor(sign_costs(dataclasses.replace(COSTS, **change), BERN), BERN.public, **CIRCUMSTANCES)


def test_costs_that_the_holder_did_not_sign_are_refused():
    signed = sign_costs(COSTS, BERN)
    raised = dataclasses.replace(signed, costs=dataclasses.replace(COSTS, gpu_seconds=101))
    with pytest.raises(IdentityError):
        costs_minor(raised, BERN.public, **CIRCUMSTANCES)
    with pytest.raises(PoolError, match="'cork' under"):
        costs_minor(signed, CORK.public, **CIRCUMSTANCES)
    with pytest.raises(PoolError, match="cannot sign"):
        sign_costs(COSTS, CORK)


@pytest.mark.parametrize(
    "change",
    [{"holder": "B"}, {"run_id": ""}, {"agreement_sha256": "x"}, {"cpu_seconds": -1}, {"gpu_seconds": 1.5}],
)
def test_malformed_costs_cannot_be_made(change):
    with pytest.raises(PoolError):
        dataclasses.replace(COSTS, **change)


def test_the_record_says_in_how_many_rounds_a_holder_was():
    def summed(*holders: str) -> SummedRound:
        return SummedRound(round=1, receipts=dict.fromkeys(holders), signatures={}, refusals={})

    kept = [field.name for field in dataclasses.fields(RecordedRun)]
    nothing = dict.fromkeys(name for name in kept if name != "summed")
    run = RecordedRun(summed={1: summed("bern", "cork"), 2: summed("bern")}, **nothing)
    assert run.rounds_of_holders == {"bern": 2, "cork": 1}
