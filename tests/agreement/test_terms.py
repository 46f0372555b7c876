from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.agreement.terms import (
    MAX_HOLDERS,
    DataTerms,
    EncryptionTerms,
    HolderTerms,
    ModelTerms,
    MoneyTerms,
    PrivacyTerms,
    Terms,
    TrainingTerms,
    ValuationTerms,
)
from fedjoint.errors import AgreementError, InvalidValue
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.strict import build, plain

LOCAL = {"mode": "local", "epsilon": 3.0, "delta": 1e-4, "clip_norm": 1.0, "noise_multiplier": 5.5}
REFERENCE = {"reference_sha256": "ab" * 32, "reference_num_examples": 7}
BOUNDS = [
    (TrainingTerms, {}, "training.rounds", 1, 10_000),
    (TrainingTerms, {}, "training.local_steps", 1, 10_000),
    (TrainingTerms, {}, "training.sampling_rate", 1e-6, 1.0),
    (TrainingTerms, {}, "training.learning_rate", 1e-9, 1e3),
    (TrainingTerms, {}, "training.server_learning_rate", 1e-9, 1e3),
    (TrainingTerms, {}, "training.minimum_holders", 2, MAX_HOLDERS),
    (TrainingTerms, {}, "training.seed", 0, 2**53 - 1),
    (PrivacyTerms, LOCAL, "privacy.epsilon", 1e-6, 1e6),
    (PrivacyTerms, LOCAL, "privacy.delta", 1e-12, 1 - 1e-12),
    (PrivacyTerms, LOCAL, "privacy.clip_norm", 1e-6, 1e6),
    (PrivacyTerms, LOCAL, "privacy.noise_multiplier", 1e-6, 1e6),
    (PrivacyTerms, LOCAL, "privacy.insecure_seed", 0, 2**53 - 1),
    (EncryptionTerms, {}, "encryption.bound", 1e-9, 1e6),
    (EncryptionTerms, {}, "encryption.value_bits", 8, 24),
    (EncryptionTerms, {}, "encryption.values_per_word", 1, 5),
    (ValuationTerms, REFERENCE, "valuation.quadrature_points", 1, 32),
    (ValuationTerms, REFERENCE, "valuation.reference_num_examples", 1, 10**9),
    (MoneyTerms, {"reserve_premium_bp": 0}, "money.exchange_fee_bp", 0, 10_000),
    (MoneyTerms, {"exchange_fee_bp": 0}, "money.reserve_premium_bp", 0, 10_000),
]
RATES = st.floats(1e-9, 1e3)
TRAINING = st.builds(
    TrainingTerms,
    rounds=st.integers(1, 10_000),
    sampling_rate=st.floats(1e-6, 1.0),
    learning_rate=RATES,
    server_learning_rate=RATES,
    seed=st.integers(0, 2**53 - 1),
)
AMOUNTS = st.floats(1e-6, 1e6)
PRIVACY = st.just(PrivacyTerms(mode="none")) | st.builds(
    PrivacyTerms,
    mode=st.just("local"),
    epsilon=AMOUNTS,
    delta=st.floats(1e-12, 0.999),
    clip_norm=AMOUNTS,
    noise_multiplier=AMOUNTS,
    insecure_seed=st.none() | st.integers(0, 2**53 - 1),
)
MODEL = st.just(ModelTerms()) | st.lists(st.integers(1, 4096), min_size=1, max_size=3).map(
    lambda widths: ModelTerms(kind="mlp", hidden=tuple(widths))
)


@given(training=TRAINING, privacy=PRIVACY, model=MODEL, title=st.text(), bound=st.floats(1e-9, 1e6))
def test_terms_survive_being_written_and_read(compose, training, privacy, model, title, bound):
    encryption = EncryptionTerms(scheme="seeded", bound=bound)
    terms = compose(training=training, privacy=privacy, model=model, title=title, encryption=encryption)
    data = canonical_bytes(terms)
    read = build(Terms, parse_canonical(data, error=AgreementError, where="terms"), error=AgreementError)
    assert read == terms
    assert canonical_bytes(read) == data


@pytest.mark.parametrize(("kind", "usual", "name", "low", "high"), BOUNDS)
def test_a_value_at_its_bounds_is_taken_and_one_beyond_them_is_refused_by_name(kind, usual, name, low, high):
    field = name.split(".")[1]
    for good in (low, high):
        assert getattr(kind(**(usual | {field: good})), field) == good
    below, above = (low - 1, high + 1) if isinstance(low, int) else (low / 2, high * (1 + 1e-9))
    for bad in (below, above, math.nan, math.inf, -math.inf):
        with pytest.raises(InvalidValue, match=rf"{name} = .* a number from"):
            kind(**(usual | {field: bad}))


@pytest.mark.parametrize("field", ["epsilon", "delta", "clip_norm", "noise_multiplier"])
def test_local_privacy_needs_each_of_its_numbers_and_no_privacy_has_none(field):
    with pytest.raises(InvalidValue, match=rf"privacy.{field} is missing"):
        PrivacyTerms(**(LOCAL | {field: None}))
    with pytest.raises(InvalidValue, match=rf"privacy.{field} is set and privacy.mode is none"):
        PrivacyTerms(mode="none", **{field: 1.0})


@pytest.mark.parametrize(
    ("kind", "hidden"), [("linear", (8,)), ("mlp", ()), ("mlp", (0,)), ("mlp", (4097,)), ("mlp", (8, 0))]
)
def test_hidden_widths_belong_to_an_mlp_and_are_bounded(kind, hidden):
    with pytest.raises(InvalidValue, match=r"model\.hidden"):
        ModelTerms(kind=kind, hidden=hidden)


@pytest.mark.parametrize("currency", ["", "CN", "cny", "CNYX", "C1Y", "CÑY", "C Y"])
def test_a_currency_is_three_capital_letters(currency):
    with pytest.raises(InvalidValue, match=r"money\.currency"):
        MoneyTerms(currency=currency)


def test_fee_and_reserve_together_are_at_most_the_whole():
    assert MoneyTerms(exchange_fee_bp=9_000, reserve_premium_bp=1_000).reserve_premium_bp == 1_000
    with pytest.raises(InvalidValue, match=r"money\.reserve_premium_bp = 1001; expected a number from 0 to 1000"):
        MoneyTerms(exchange_fee_bp=9_000, reserve_premium_bp=1_001)


@pytest.mark.parametrize("size", [0, -1, 10**9 + 1])
def test_a_holder_brings_between_one_and_a_billion_examples(parties, size):
    with pytest.raises(InvalidValue, match="num_examples of basel"):
        HolderTerms(identity=parties[0].public, num_examples=size)


def test_one_holder_alone_and_more_than_the_most_are_refused(compose, parties):
    def many(count: int) -> tuple[HolderTerms, ...]:
        return tuple(
            HolderTerms(
                identity=PublicIdentity(id=f"h{i}", name="", signing_key=f"{i:064x}", sealing_key=f"{i:064x}"),
                num_examples=1,
            )
            for i in range(count)
        )

    assert len(compose(holders=many(MAX_HOLDERS)).holders) == MAX_HOLDERS
    for count in (0, 1, MAX_HOLDERS + 1):
        with pytest.raises(InvalidValue, match=f"number of holders = {count}"):
            compose(holders=many(count))


@pytest.mark.parametrize(
    ("field", "words"), [("id", "id"), ("signing_key", "signing key"), ("sealing_key", "sealing key")]
)
@pytest.mark.parametrize("twin", ["holder", "coordinator"])
def test_no_two_parties_share_an_id_or_a_key(compose, parties, field, words, twin):
    first, other, coordinator = (party.public for party in parties)
    copied = {field: getattr(first, field)}
    if twin == "holder":
        other = dataclasses.replace(other, **copied)
    else:
        coordinator = dataclasses.replace(coordinator, **copied)
    holders = tuple(HolderTerms(identity=identity, num_examples=1) for identity in (first, other))
    with pytest.raises(InvalidValue, match=f"two parties have the same {words}"):
        compose(holders=holders, coordinator=coordinator)


def test_no_round_can_need_more_holders_than_there_are(compose):
    with pytest.raises(InvalidValue, match=r"minimum_holders = 3 and there are 2 holders"):
        compose(training=TrainingTerms(minimum_holders=3))


def test_terms_know_their_holders_in_order_and_their_weights(compose, parties):
    holders = tuple(
        HolderTerms(identity=party.public, num_examples=n) for party, n in zip(parties[1::-1], (30, 10), strict=True)
    )
    terms = compose(holders=holders)
    assert terms.holder_ids == ("zurich", "basel")
    assert (terms.weight("zurich"), terms.weight("basel")) == (0.75, 0.25)
    assert terms.holder("basel").num_examples == 10


def test_a_stranger_is_no_holder_and_neither_is_the_coordinator(compose):
    for name in ("nobody", "exchange"):
        with pytest.raises(InvalidValue, match=f"'{name}' is no holder .* one of: basel, zurich"):
            compose().holder(name)


def test_the_parameters_of_a_linear_model_and_an_mlp_are_counted_by_hand(compose):
    columns = tuple(Column(name=name, kind="number") for name in "abc")
    target = Target(name="y", task="multiclass", classes=("p", "q", "r", "s"))
    data = DataTerms(name="d", schema=Schema(columns=columns, target=target))
    assert compose(data=data).num_parameters == 3 * 4 + 4
    mlp = ModelTerms(kind="mlp", hidden=(5, 2))
    assert compose(data=data, model=mlp).num_parameters == (3 * 5 + 5) + (5 * 2 + 2) + (2 * 4 + 4)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "fedjoint-agreement-2"),
        (("privacy", "mode"), "central"),
        (("model", "kind"), "tree"),
        (("encryption", "scheme"), "none"),
        (("valuation", "method"), "shapley"),
        (("valuation", "utility"), "auc"),
        (("training", "rounds"), "20"),
        (("training", "rounds"), 20.5),
        (("training", "rounds"), True),
        (("title",), None),
        (("holders",), {}),
    ],
)
def test_a_document_with_a_value_of_another_kind_is_refused_by_its_key(compose, path, value):
    document = plain(compose())
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(AgreementError, match=rf"{'.'.join(path)} = .* does not fit"):
        build(Terms, document, error=AgreementError)


def test_a_fresh_identity_fits_into_terms():
    party = Identity.create("x", "X").public
    assert HolderTerms(identity=party, num_examples=1).identity is party


JOINT = LOCAL | {"mode": "joint", "colluders": 1, "epsilon_if_opened": 8.0, "contributions_noise_multiplier": 4.0}


def test_joint_terms_add_two_coordinates_of_noise_and_keep_a_part_of_delta_for_its_tails(compose):
    terms = compose(privacy=PrivacyTerms(**JOINT))
    assert terms.num_coordinates == terms.num_parameters + 2
    assert terms.honest_holders == terms.training.minimum_holders - 1
    assert terms.privacy.accounted_delta == pytest.approx(0.999e-4)
    assert compose().num_coordinates == compose().num_parameters


@pytest.mark.parametrize("name", ["colluders", "epsilon_if_opened", "contributions_noise_multiplier"])
def test_joint_terms_need_their_own_values_and_others_may_not_have_them(name):
    with pytest.raises(InvalidValue, match=f"privacy.{name} is missing"):
        PrivacyTerms(**JOINT | {name: None})
    with pytest.raises(InvalidValue, match=f"privacy.{name} is set and privacy.mode is local"):
        PrivacyTerms(**LOCAL | {name: JOINT[name]})


def test_several_local_steps_are_refused_in_mode_joint(compose):
    with pytest.raises(InvalidValue, match="shares of noise in several local steps do not add up"):
        compose(privacy=PrivacyTerms(**JOINT), training=TrainingTerms(local_steps=2))


def test_as_many_colluders_as_the_smallest_sum_has_holders_are_refused(compose):
    with pytest.raises(InvalidValue, match="somebody's noise must remain"):
        compose(privacy=PrivacyTerms(**JOINT | {"colluders": 2}))


def test_what_is_taken_before_the_holders_cannot_exceed_gross():
    rates = {"tax_bp": 2_500, "exchange_fee_bp": 7_000, "reserve_premium_bp": 1_000}
    assert MoneyTerms(**rates).tax_bp == 2_500  # 20 % of gross is tax
    with pytest.raises(InvalidValue, match="more than gross"):
        MoneyTerms(**{**rates, "tax_bp": 2_501})
    with pytest.raises(InvalidValue, match="more than gross"):
        MoneyTerms(**rates, cpu_hour_minor=1, compute_cap_bp=1)


@pytest.mark.parametrize(
    "field",
    [
        {"holdback_bp": 10_001},
        {"base_bp": -1},
        {"cpu_hour_minor": -1},
        {"compute_seconds_per_round": -1},
        {"compute_cap_bp": 10_001},
        {"dispute_window_days": -1},
        {"reserve_target_bp": 10_001},
    ],
)
def test_a_money_rule_out_of_range_is_refused(field):
    with pytest.raises(InvalidValue, match=next(iter(field))):
        MoneyTerms(**field)


def test_several_values_a_word_need_an_agreement_that_measures_no_contributions(compose):
    packed, unmeasured = EncryptionTerms(values_per_word=3), ValuationTerms(method="none", **REFERENCE)
    with pytest.raises(InvalidValue, match=r"values_per_word = 3 and contributions are measured"):
        compose(encryption=packed)
    assert compose(encryption=packed, valuation=unmeasured).encryption.values_per_word == 3


def test_unmeasured_shares_are_by_size_or_equal(compose):
    by_size = compose(valuation=ValuationTerms(method="none", **REFERENCE))
    equal = compose(valuation=ValuationTerms(method="none", unmeasured="equal", **REFERENCE))
    assert by_size.unmeasured_shares == {holder: by_size.weight(holder) for holder in by_size.holder_ids}
    assert set(equal.unmeasured_shares.values()) == {1 / len(equal.holders)}


def test_joint_noise_needs_measured_contributions(compose):
    joint = {"colluders": 0, "epsilon_if_opened": 1.0, "contributions_noise_multiplier": 1.0}
    with pytest.raises(InvalidValue, match=r"valuation.method is none and privacy.mode is joint"):
        compose(
            privacy=PrivacyTerms(**(LOCAL | joint | {"mode": "joint"})),
            valuation=ValuationTerms(method="none", **REFERENCE),
        )


def test_an_error_is_not_estimated_from_groups_of_fewer_than_two_reference_records():
    committed = REFERENCE | {"reference_num_examples": 18}
    assert ValuationTerms(**committed, error_numbers=8).error_numbers == 8
    with pytest.raises(InvalidValue, match=r"error_numbers = 9 and valuation.reference_num_examples = 18; .* 20 rec"):
        ValuationTerms(**committed, error_numbers=9)
