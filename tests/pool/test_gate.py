import dataclasses
from datetime import date

import pytest

from fedjoint.agreement.terms import HolderTerms
from fedjoint.errors import InvalidValue, PoolError
from fedjoint.pool.gate import ask_gate, read_registry, require_run_allowed, settling_of_run
from fedjoint.pool.registered import DatasetEvent
from fedjoint.pool.statement import RunFacts, StatedError, statement_of
from fedjoint.pool.waterfall import settle
from tests.fakes import examples, make_terms
from tests.pool.consortium import PEOPLE, registry

DAY = date(2026, 6, 1)
EXCHANGE = PEOPLE["exchange"].public


def terms(datasets=("scans-a", "scans-b"), purpose="underwriting research", people=PEOPLE):
    holding = {name: people[name] for name in ("a", "b")}
    made = make_terms(people["exchange"], holding, {"a": 30, "b": 20}, examples(10, seed=1))
    holders = tuple(
        dataclasses.replace(holder, dataset=dataset) for holder, dataset in zip(made.holders, datasets, strict=True)
    )
    return dataclasses.replace(made, holders=holders, purpose=purpose)


def test_a_run_whose_datasets_are_valid_for_its_purpose_may_start():
    require_run_allowed(registry(), terms(), day=DAY, exchange=EXCHANGE)


@pytest.mark.parametrize(
    ("given", "day", "words"),
    [
        ({"purpose": "marketing"}, DAY, "does not permit the purpose 'marketing'"),
        ({}, date(2026, 1, 20), "permits training from 2026-02-01"),
        ({}, date(2027, 7, 1), "data certificate is valid from 2026-01-15 until 2027-06-30"),
        ({"datasets": ("scans-b", "scans-a")}, DAY, "'scans-b' is not that of 'a'.*'scans-a' is not that of 'b'"),
        ({"datasets": ("scans-a", "other")}, DAY, "'other' is no registered dataset"),
        ({"datasets": (None, None)}, DAY, "no dataset of 'a' is named.*no dataset of 'b' is named"),
    ],
)
def test_a_run_that_a_registration_does_not_allow_is_stopped(given, day, words):
    with pytest.raises(PoolError, match=words):
        require_run_allowed(registry(), terms(**given), day=day, exchange=EXCHANGE)


def test_without_a_registry_to_ask_no_agreement_that_names_datasets_passes(tmp_path):
    ask_gate(None, terms((None, None)), DAY)
    with pytest.raises(PoolError, match="no registry that could be asked"):
        ask_gate(None, terms(), DAY)
    ask_gate(lambda found, day: require_run_allowed(registry(), found, day=day), terms(), DAY)
    with pytest.raises(PoolError, match="no dataset of 'a' is named"):
        ask_gate(lambda found, day: require_run_allowed(registry(), found, day=day), terms((None, None)), DAY)
    with pytest.raises(PoolError, match="there is no pool in"):
        read_registry(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_revoked_dataset_or_party_stops_runs_from_the_day_it_takes_effect():
    event = DatasetEvent(dataset="scans-a", kind="revocation", effective="2026-06-02", reason="consent withdrawn")
    revoked = registry().with_event(event)
    require_run_allowed(revoked, terms(), day=DAY, exchange=EXCHANGE)
    with pytest.raises(PoolError, match="its revocation took effect on 2026-06-02"):
        require_run_allowed(revoked, terms(), day=date(2026, 6, 2), exchange=EXCHANGE)
    with pytest.raises(PoolError, match="'b' is not registered, expired or revoked"):
        require_run_allowed(registry().without_party("b", "2026-05-01"), terms(), day=DAY, exchange=EXCHANGE)


def test_everybody_signs_with_the_keys_that_are_registered():
    others = {name: type(PEOPLE[name]).create(name, name.upper()) for name in ("a", "b", "exchange")}
    with pytest.raises(PoolError, match=r"'exchange' with these keys is not.*'a' signs with keys.*'b' signs with keys"):
        require_run_allowed(registry(), terms(people=others), day=DAY, exchange=EXCHANGE)
    require_run_allowed(registry(), terms(people=others), day=DAY)  # a simulation makes its keys up


def test_an_agreement_names_a_dataset_of_its_own_for_each_holder_or_for_none():
    for datasets in (("scans-a", None), ("scans-a", "scans-a")):
        with pytest.raises(InvalidValue, match="one of its own for each holder"):
            terms(datasets)
    with pytest.raises(InvalidValue, match="dataset 'Scans A' of a"):
        HolderTerms(identity=PEOPLE["a"].public, num_examples=1, dataset="Scans A")


def statements(agreed):
    done = settle(1_000, {"a": 2.0, "b": 1.0}, terms=agreed.money)
    facts = RunFacts(
        run_id="run-1", agreement_sha256="0" * 64, period="2026-06-01", utility_gain=3.0, method="exact", privacy="none"
    )
    return [
        statement_of(
            done,
            holder,
            facts=facts,
            contribution=value,
            error=StatedError(by_noise=3.0, by_sampling=4.0, paid_alike_with=other, rule="equal", z=1.96),
        )
        for holder, value, other in (("a", 2.0, ("b",)), ("b", 1.0, ("a",)))
    ]


def test_a_runs_statements_say_what_a_pool_settles_by():
    agreed = terms()
    settling = settling_of_run(statements(agreed), agreed, settlement_id="s", gross_minor=500)
    assert settling.contributions == {"a": 2.0, "b": 1.0}
    assert settling.errors == pytest.approx({"a": 1.96 * 5, "b": 1.96 * 5})
    assert (settling.alike, settling.method, settling.run_id) == ((("a", "b"),), "exact", "run-1")
    assert settling.datasets == {"a": "scans-a", "b": "scans-b"}
    with pytest.raises(PoolError, match="not the statements of one run"):
        settling_of_run(statements(agreed)[:1], agreed, settlement_id="s", gross_minor=500)
    with pytest.raises(PoolError, match="names no registered datasets"):
        settling_of_run(statements(agreed), terms((None, None)), settlement_id="s", gross_minor=500)
