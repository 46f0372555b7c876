import dataclasses
import json
from datetime import date, timedelta

import pytest

from fedjoint.errors import PoolError
from fedjoint.pool.cards import croissant_card, dcat_card, odrl_policy
from fedjoint.pool.registered import Dataset, DatasetEvent
from fedjoint.pool.registry import Registry, require_payable, require_runnable
from fedjoint.strict import build, plain
from tests.pool.consortium import dataset, party, registry

PURPOSE, DAY = "underwriting research", date(2026, 6, 1)


def event(kind: str, effective: str = "2026-06-01", **more: str) -> DatasetEvent:
    return DatasetEvent(dataset="scans-a", kind=kind, effective=effective, reason="so", **more)


def runnable(found: Registry, *, purpose: str = PURPOSE, day: date = DAY) -> None:
    require_runnable(found, "scans-a", purpose=purpose, day=day)


def test_a_valid_dataset_may_be_trained_on_and_paid_for():
    runnable(registry())
    require_payable(registry(), "scans-a", day=DAY)


def test_another_purpose_is_refused_and_the_permitted_ones_are_named():
    with pytest.raises(PoolError, match="does not permit the purpose 'marketing' but: underwriting research"):
        runnable(registry(), purpose="marketing")


@pytest.mark.parametrize("kind", ["revocation", "cancellation"])
def test_an_end_stops_runs_and_payments_from_the_day_it_takes_effect_and_not_before(kind):
    ended = registry().with_event(event(kind, "2026-06-02"))
    runnable(ended)
    require_payable(ended, "scans-a", day=DAY)
    with pytest.raises(PoolError, match=f"its {kind} took effect on 2026-06-02"):
        runnable(ended, day=date(2026, 6, 2))
    with pytest.raises(PoolError, match=f"its {kind} took effect on 2026-06-02"):
        require_payable(ended, "scans-a", day=date(2026, 6, 2))


def test_an_expired_certificate_stops_runs_and_payments_the_day_after_its_last():
    require_payable(registry(), "scans-a", day=date(2027, 6, 30))
    with pytest.raises(PoolError, match="valid from 2026-01-15 until 2027-06-30"):
        require_payable(registry(), "scans-a", day=date(2027, 7, 1))


@pytest.mark.parametrize("day", [date(2026, 1, 31), date(2027, 1, 1)])
def test_a_policy_permits_runs_in_its_time_only_and_payments_go_on(day):
    with pytest.raises(PoolError, match="permits training from 2026-02-01 until 2026-12-31"):
        runnable(registry(), day=day)
    require_payable(registry(), "scans-a", day=day)


def test_a_revoked_or_expired_holder_is_neither_trained_with_nor_paid():
    revoked = registry().without_party("a", "2026-06-01")
    for found, day in ((revoked, DAY), (registry(), date(2025, 12, 31))):
        with pytest.raises(PoolError, match="'a' is not registered, expired or revoked"):
            require_payable(found, "scans-a", day=day)
    require_payable(revoked, "scans-a", day=date(2026, 5, 31))
    with pytest.raises(PoolError, match="revoked already"):
        revoked.without_party("a", "2026-07-01")


def test_an_objection_stops_new_runs_until_it_is_settled():
    contested = registry().with_event(event("objection"))
    with pytest.raises(PoolError, match="an objection to it stands"):
        runnable(contested)
    runnable(contested.with_event(event("objection settled")))
    with pytest.raises(PoolError, match="no objection to dataset 'scans-a' stands"):
        registry().with_event(event("objection settled"))


def test_a_transfer_moves_the_dataset_and_the_right_to_hold_it():
    moved = registry().with_event(event("transfer", to="b")).dataset("scans-a")
    day = date.fromisoformat(event("transfer", to="b").effective)
    after, before = moved.as_of(day), moved.as_of(day - timedelta(days=1))
    assert (after.holder, after.rights.holding) == ("b", "b")
    assert (before.holder, before.rights.holding) == ("a", "a")
    with pytest.raises(PoolError, match="'stranger' is not registered"):
        registry().with_event(event("transfer", to="stranger"))


def test_nothing_follows_an_end():
    with pytest.raises(PoolError, match="nothing follows it"):
        registry().with_event(event("revocation")).with_event(event("change"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "'a' is registered already"),
        ({"identity": party("b").identity}, "the same legal person"),
        ({"identity": party("b").identity, "legal_id": "CN/x"}, "the same certificate"),
        ({"identity": party("b").identity, "certificate_sha256": "ab" * 32}, "the same legal person"),
    ],
)
def test_one_legal_person_is_registered_once(change, words):
    found = Registry().with_party(party("a"))
    with pytest.raises(PoolError, match=words):
        found.with_party(dataclasses.replace(party("a"), **change))


def test_a_key_belongs_to_one_party():
    stolen = dataclasses.replace(party("a").identity, id="z")
    with pytest.raises(PoolError, match="the same signing key"):
        Registry().with_party(party("a")).with_party(dataclasses.replace(party("b"), identity=stolen))


def test_a_dataset_is_registered_once_and_by_a_holder():
    with pytest.raises(PoolError, match="is registered, by 'a'"):
        registry().with_dataset(dataset("scans-a"))
    with pytest.raises(PoolError, match="is registered, by 'a'"):
        registry().with_dataset(dataclasses.replace(dataset("scans-a", "b"), id="copy"))
    with pytest.raises(PoolError, match="'buyer' is no registered holder"):
        registry().with_dataset(dataset("x", "buyer"))
    with pytest.raises(PoolError, match="has a right in dataset 'x'"):
        rights = dataclasses.replace(dataset("x").rights, operation="stranger")
        registry().with_dataset(dataclasses.replace(dataset("x"), rights=rights))
    with pytest.raises(PoolError, match="is no registered dataset"):
        registry().dataset("nothing")


def test_a_data_certificate_ends_after_three_years_or_with_the_agreement():
    certificate = dataset().certificate
    leap = dataclasses.replace(
        certificate, announced="2024-02-29", valid_until="2027-02-28", agreement_until="2030-01-01"
    )
    assert leap.valid_until == "2027-02-28"
    for change in ({"valid_until": "2027-07-01"}, {"agreement_until": "2030-01-01", "valid_until": "2029-01-16"}):
        with pytest.raises(PoolError, match="at most"):
            dataclasses.replace(certificate, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "A B"},
        {"title": ""},
        {"schema_sha256": "x"},
        {"num_records": 0},
        {"source_proofs": ()},
        {"source_proofs": ("x",)},
        {"lifetime_epsilon": 0.0},
        {"sum_insured_minor": -1},
        {"rights": dataclasses.replace(dataset().rights, holding="b")},
        {"deidentification": "x" * 2_001},
    ],
)
def test_a_malformed_dataset_is_refused(change):
    with pytest.raises(PoolError):
        dataclasses.replace(dataset(), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"legal_id": ""},
        {"certificate_sha256": "x"},
        {"valid_from": "2026-1-1"},
        {"valid_until": "2025-01-01"},
        {"iban": "DE89370400440532013001"},
        {"iban": "nothing"},
    ],
)
def test_a_malformed_party_is_refused(change):
    with pytest.raises(PoolError):
        dataclasses.replace(party("a"), **change)


def test_an_iban_whose_check_digits_are_right_is_accepted():
    assert dataclasses.replace(party("a"), iban="DE89370400440532013000").iban


@pytest.mark.parametrize(
    "change", [{"purposes": ()}, {"purposes": ("",)}, {"not_after": "2026-01-01"}, {"not_before": "soon"}]
)
def test_a_malformed_policy_is_refused(change):
    with pytest.raises(PoolError):
        dataclasses.replace(dataset().policy, **change)


def test_a_malformed_event_is_refused():
    for wrong in ({"kind": "transfer"}, {"kind": "change", "to": "b"}, {"kind": "change", "effective": "x"}):
        with pytest.raises(PoolError):
            event(**wrong)


def test_registrations_survive_json():
    assert build(Dataset, json.loads(json.dumps(plain(dataset())))) == dataset()


def test_cards_say_what_was_registered():
    registered = registry().with_event(event("change")).dataset("scans-a")
    croissant, dcat, offer = croissant_card(registered), dcat_card(registered), odrl_policy(registered)
    assert (croissant["name"], croissant["version"], croissant["distribution"]) == ("scans-a", "1.1.0", [])
    assert croissant["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert dcat["odrl:hasPolicy"] == offer
    permission = offer["permission"][0]
    assert (permission["action"], permission["duty"]) == ("fedjoint:train", [{"action": "compensate"}])
    assert permission["constraint"][0]["rightOperand"] == [PURPOSE]
    for card in (croissant, dcat, offer):
        json.dumps(card, allow_nan=False)
