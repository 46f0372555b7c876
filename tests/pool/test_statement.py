from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import FedjointError, IdentityError, PoolError
from fedjoint.identity.keys import Identity
from fedjoint.pool.statement import (
    MAX_STATEMENT_BYTES,
    RunFacts,
    Statement,
    read_statement,
    sign_statement,
    statement_of,
    verify_statement,
)
from fedjoint.pool.waterfall import Period, Settlement, settle

EXCHANGE = Identity.create("exchange", "The exchange")
CONTRIBUTIONS = {"budapest": 0.125, "cleveland": 0.25, "zurich": -0.0625}
FACTS = RunFacts(
    run_id="run-1",
    agreement_sha256="ab" * 32,
    period="2026-11",
    utility_gain=0.3125,
    method="aumann_shapley, 4 points",
    privacy="one number per holder was opened",
    record_head="cd" * 32,
)


def settlement(gross: int = 100_000_000) -> Settlement:
    return settle(gross, CONTRIBUTIONS, terms=MoneyTerms())


def statement(of: str = "cleveland", **changes: Any) -> Statement:
    made = statement_of(settlement(), of, facts=FACTS, contribution=CONTRIBUTIONS[of], balance_brought_minor=7)
    return dataclasses.replace(made, **changes)


def test_a_statement_says_what_the_settlement_gave():
    made = statement()
    assert (made.share, made.payout_minor) == ("2/3", 58_000_000)
    assert (made.balance_brought_minor, made.balance_carried_minor) == (7, 58_000_007)
    assert made.steps == settlement().steps


def test_a_holder_that_lost_is_shown_its_contribution_and_paid_zero():
    made = statement("zurich")
    assert (made.contribution, made.share, made.payout_minor) == (-0.0625, "0/1", 0)


def test_a_base_part_and_compute_costs_are_in_the_statement():
    terms = MoneyTerms(base_bp=3_000, cpu_hour_minor=1)
    for contributions in (CONTRIBUTIONS, dict.fromkeys(CONTRIBUTIONS, 0.0)):
        done = settle(9_999, contributions, terms=terms, period=Period(compute_minor={"zurich": 77}))
        made = statement_of(done, "zurich", facts=FACTS, contribution=contributions["zurich"])
        assert (made.base_share, made.base_bp, made.compute_minor) == ("1/3", 3_000, 77)
        assert made.balance_carried_minor == made.payout_minor + 77


def test_a_holder_without_a_part_has_no_statement():
    with pytest.raises(PoolError, match="one of: budapest, cleveland, zurich"):
        statement_of(settlement(), "berlin", facts=FACTS, contribution=1.0)


def test_a_signed_statement_is_verified_with_the_public_key_alone():
    document = sign_statement(statement(), EXCHANGE)
    assert verify_statement(document, EXCHANGE.public) == statement()
    assert read_statement(canonical_bytes(document), EXCHANGE.public) == statement()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**15),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(-1e15, 1e15), min_size=1),
)
def test_every_settlement_has_statements_that_verify(gross, contributions):
    done = settle(gross, contributions, terms=MoneyTerms())
    for holder, contribution in contributions.items():
        made = statement_of(done, holder, facts=FACTS, contribution=contribution)
        document = canonical_bytes(sign_statement(made, EXCHANGE))
        assert len(document) < MAX_STATEMENT_BYTES
        assert read_statement(document, EXCHANGE.public) == made


def test_another_party_cannot_sign_in_the_coordinators_name():
    impostor = Identity.create("exchange", "Somebody else")
    with pytest.raises(IdentityError, match="not that of 'exchange'"):
        verify_statement(sign_statement(statement(), impostor), EXCHANGE.public)


def test_a_signature_made_for_another_purpose_is_refused():
    jws = EXCHANGE.sign_jws("something-else", canonical_bytes(statement()))
    document = {**sign_statement(statement(), EXCHANGE), "jws": jws}
    with pytest.raises(IdentityError):
        verify_statement(document, EXCHANGE.public)


def test_a_signature_of_another_statement_is_refused():
    document = {**sign_statement(statement(), EXCHANGE), "jws": sign_statement(statement("zurich"), EXCHANGE)["jws"]}
    with pytest.raises(PoolError, match="not the one that was signed"):
        verify_statement(document, EXCHANGE.public)


def test_a_signature_without_an_algorithm_is_refused():
    header, payload, _ = sign_statement(statement(), EXCHANGE)["jws"].split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiZmVkam9pbnQtc3RhdGVtZW50K2pzb24iLCJraWQiOiJleGNoYW5nZSJ9"
    for jws in (f"{none}.{payload}.", f"{header}.{payload}.", f"{header}.{payload}", "", "…", "a.b.c", "..."):
        with pytest.raises(IdentityError):
            verify_statement({**sign_statement(statement(), EXCHANGE), "jws": jws}, EXCHANGE.public)


def test_any_changed_bit_of_the_file_is_refused():
    good, source = canonical_bytes(sign_statement(statement(), EXCHANGE)), random.Random(5)
    end_of_signature = good.index(b'"', good.index(b'"jws":"') + 7) - 1
    places = [end_of_signature, *(source.randrange(len(good)) for _ in range(400))]
    for place in places:
        for bit in range(8) if place == end_of_signature else (source.randrange(8),):
            changed = bytearray(good)
            changed[place] ^= 1 << bit
            with pytest.raises(FedjointError):
                read_statement(bytes(changed), EXCHANGE.public)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"1", b"{}", b'{"jws":1,"statement":{}}', b"\xff", b"x" * (MAX_STATEMENT_BYTES + 1)]
)
def test_a_file_that_is_no_statement_is_refused(data):
    with pytest.raises(PoolError, match="statement"):
        read_statement(data, EXCHANGE.public)


def test_an_unknown_key_in_a_statement_is_refused():
    document = sign_statement(statement(), EXCHANGE)
    with pytest.raises(PoolError, match="bonus"):
        verify_statement({**document, "statement": {**document["statement"], "bonus": 1}}, EXCHANGE.public)


@pytest.mark.parametrize(
    "changes",
    [
        {"holder": "Not An Id"},
        {"run_id": ""},
        {"run_id": "r" * 128},
        {"agreement_sha256": "AB" * 32},
        {"record_head": ""},
        {"period": ""},
        {"currency": "CNX"},
        {"contribution": float("nan")},
        {"utility_gain": float("inf")},
        {"contribution": 1.1e15},
        {"method": ""},
        {"privacy": "p" * 2_001},
        {"payout_minor": 58_000_000.0},
        {"share": "0.5"},
        {"share": "4/6"},
        {"share": "3/2"},
        {"share": "2/0"},
        {"share": "1/" + "9" * 701},
        {"steps": ()},
    ],
)
def test_a_malformed_statement_cannot_be_made(changes):
    with pytest.raises(PoolError):
        statement(**changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"balance_carried_minor": 58_000_008}, "carries"),
        ({"contribution": -1.0}, "does not fit its contribution"),
        ({"share": "0/1"}, "does not fit its contribution"),
        ({"share": "1/2"}, "not its share"),
        ({"payout_minor": 58_000_020, "balance_carried_minor": 58_000_027}, "not its share"),
        ({"compute_minor": 1}, "carries"),
        ({"base_bp": 5_000}, "not its share"),
        ({"base_bp": 10_000, "base_share": "1/3"}, "not its share"),
        ({"steps": settlement(99_999_900).steps}, "not its share"),
    ],
)
def test_a_statement_that_contradicts_itself_cannot_be_made(changes, why):
    with pytest.raises(PoolError, match=why):
        statement(**changes)


def test_a_unit_carried_from_before_does_not_contradict_the_share():
    made = statement(payout_minor=58_000_001, balance_carried_minor=58_000_008)
    assert made.payout_minor == 58_000_001
