from dataclasses import replace

import numpy as np
import pytest

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.conduct.own_contribution import own_contribution
from fedjoint.errors import ValuationError
from fedjoint.runs.own import findings, read_own, render_own, write_own
from fedjoint.training.diary import OwnRound
from fedjoint.training.optimizer import ServerState
from tests.fakes import NO_PRIVACY, complete, gone, in_round, make_consortium

HOLDERS = {"valuation": {"reference": "holders"}, "releases": ReleaseTerms(held_out=0.3)}
FOUR = {"ahus": 40, "bern": 30, "cork": 20, "delft": 25}


def rounds_of(parties, run, holder):
    sent = {number: update for number, name, update in parties.updates.items() if name == holder}
    for number, contributors in enumerate(run.contributors, start=1):
        yield OwnRound(
            number=number,
            update=sent.get(number),
            contributors=contributors,
            before=ServerState(model=run.models[number - 1]),
            after=ServerState(model=run.models[number]),
        )


def own_of(parties, rounds, **how):
    agreement = parties.session.agreement
    facts = {"holder": "bern", "run_id": parties.session.run_id, "agreement_sha256": agreement.sha256}
    return own_contribution(parties.terms, rounds, **{"reference": parties.reference, **facts, **how})


@pytest.fixture(
    scope="module", params=[{}, {"server_optimizer": "momentum", "server_momentum": 0.6}], ids=["sgd", "momentum"]
)
def finished(request):
    parties = make_consortium(FOUR, rounds=4, **request.param)
    return parties, complete(parties, reachable=gone("bern", when=in_round(3)))


def test_a_holder_computes_from_its_own_updates_the_number_that_is_opened_of_them(finished):
    parties, run = finished
    own = own_of(parties, rounds_of(parties, run, "bern"))
    assert own.total == pytest.approx(run.contributions.by_holder["bern"], rel=1e-3)
    assert len(own.by_round) == 4 and (own.by_round[2] == 0) == (parties.terms.training.server_optimizer == "sgd")


def test_its_parts_by_class_sum_to_all_of_it(finished):
    parties, run = finished
    own = own_of(parties, rounds_of(parties, run, "bern"))
    if parties.terms.data.schema.target.classes:
        assert sum(own.by_class.values()) == pytest.approx(own.total, abs=1e-12)


def test_a_round_whose_models_it_did_not_see_is_left_open(finished):
    parties, run = finished
    rounds = list(rounds_of(parties, run, "bern"))
    rounds[1] = OwnRound(number=2, update=rounds[1].update, contributors=rounds[1].contributors)
    own = own_of(parties, rounds)
    assert own.by_round[1] is None and own.by_round[0] == own_of(parties, rounds[:1]).by_round[0]
    assert any("1 rounds you did not see" in sentence for sentence in findings(own))


def test_on_holders_records_the_opened_gradient_takes_the_place_of_the_reference_set():
    parties = make_consortium(FOUR, rounds=1, privacy=NO_PRIVACY, **HOLDERS)
    terms, model = parties.terms, np.zeros(parties.terms.num_parameters, np.float32)
    update, gradient = np.arange(model.size) / 7, np.linspace(1, -1, model.size)
    one = OwnRound(
        number=1,
        update=update,
        contributors=("ahus", "bern"),
        before=ServerState(model=model),
        after=ServerState(model=model),
        gradient=gradient,
    )
    own = own_of(parties, [one], reference=None)
    counted = terms.weight("ahus") + terms.weight("bern")
    assert own.total == pytest.approx(float(gradient @ update) / counted)
    assert own.by_class == {} and own.num_reference is None


def test_without_reference_records_nobody_can_say(finished):
    with pytest.raises(ValuationError, match="without the reference records"):
        own_of(finished[0], [], reference=None)


def test_the_file_is_the_holders_alone_and_reads_as_it_was_written(finished, tmp_path):
    parties, run = finished
    own = replace(own_of(parties, rounds_of(parties, run, "bern"), stated=0.25), by_class={"yes": 0.5, "<no>": -0.25})
    write_own(tmp_path / "own" / "bern.json", own)
    path = tmp_path / "own" / "bern.json"
    assert read_own(path) == own and path.stat().st_mode & 0o777 == 0o600
    page = render_own(own).decode()
    assert page.count("<svg") == 2 and "&lt;no&gt;" in page and "<no>" not in page
    with pytest.raises(ValuationError, match="cannot be read"):
        read_own(tmp_path / "missing")
