from dataclasses import replace

import pytest
from scipy.stats import spearmanr

from fedjoint.agreement.terms import EncryptionTerms
from fedjoint.encryption.opened import CANARY
from fedjoint.encryption.scratch import IN_MEMORY
from fedjoint.errors import EncryptionError, ValuationError
from fedjoint.simulation.exact import exact_contributions, holder_steps
from fedjoint.training.plan import ContributionsTask, Parcel
from fedjoint.valuation.aumann_shapley import path_gradient
from tests.fakes import (
    LOCAL_PRIVACY,
    NO_PRIVACY,
    DirectChannel,
    changed,
    complete,
    gone,
    in_round,
    make_consortium,
    open_contributions,
    train,
)

FOUR = {"ahus": 60, "bern": 45, "cork": 30, "delft": 40}
#: Delft's labels are worth nothing.
FLIPPED = {"delft": 0.5}


@pytest.fixture
def parties():
    return make_consortium()


def exact(parties, run):
    models = [model.astype(float) for model in run.models]
    return exact_contributions(parties.updates, models, run.contributors, parties.reference, parties.terms)


@pytest.mark.parametrize(
    "privacy",
    [
        NO_PRIVACY,
        replace(LOCAL_PRIVACY, insecure_seed=1),
        replace(LOCAL_PRIVACY, noise_multiplier=4.0, insecure_seed=3),
    ],
    ids=["none", "local", "local with more noise"],
)
def test_contributions_sum_to_the_utility_gained_and_rank_as_the_exact_ones(privacy):
    parties = make_consortium(FOUR, flipped=FLIPPED, privacy=privacy, rounds=6)
    run = complete(parties)
    found, truth = run.contributions.by_holder, exact(parties, run)
    gained = parties.reference.loss(run.models[0]) - parties.reference.loss(run.models[-1])
    assert sum(found.values()) == pytest.approx(gained, rel=5e-3)
    assert sum(truth.values()) == pytest.approx(gained, rel=1e-6)  # models are float32
    assert list(found) == list(truth) == list(FOUR)
    assert found == pytest.approx(truth, abs=0.02 * gained)
    assert spearmanr(list(found.values()), list(truth.values())).statistic == pytest.approx(1.0)
    assert run.contributions.numbers_opened == 1


@pytest.mark.parametrize(
    "server",
    [
        {"server_optimizer": "momentum", "server_momentum": 0.7},
        {"server_optimizer": "adam", "server_momentum": 0.7, "server_learning_rate": 0.2, "server_tau": 0.1},
    ],
    ids=["momentum", "adam"],
)
def test_they_do_so_where_the_server_remembers_and_a_holder_is_missing(server):
    parties = make_consortium(FOUR, flipped=FLIPPED, rounds=6, **server)
    run = complete(parties, reachable=gone("bern", when=in_round(3)))
    found, truth = run.contributions.by_holder, exact(parties, run)
    gained = parties.reference.loss(run.models[0]) - parties.reference.loss(run.models[-1])
    assert sum(found.values()) == pytest.approx(gained, rel=5e-3)
    assert sum(truth.values()) == pytest.approx(gained, rel=1e-5)
    assert found == pytest.approx(truth, abs=0.03 * abs(gained))
    assert run.contributions.numbers_opened == 1


@pytest.mark.parametrize(
    "agreed",
    [
        {"local_steps": 4, "proximal": 0.5},
        {"holders_per_round": 2},
        {"holders_per_round": 3, "server_optimizer": "momentum", "server_momentum": 0.7},
        {"local_steps": 3, "proximal": 1.0, "privacy": replace(LOCAL_PRIVACY, insecure_seed=2)},
    ],
    ids=["proximal", "sampled", "sampled, momentum", "proximal, noise"],
)
def test_they_do_so_with_proximal_steps_and_with_holders_drawn_for_each_round(agreed):
    parties = make_consortium(FOUR, rounds=6, **agreed)
    run = complete(parties)
    found, truth = run.contributions.by_holder, exact(parties, run)
    gained = parties.reference.loss(run.models[0]) - parties.reference.loss(run.models[-1])
    count = agreed.get("holders_per_round", len(FOUR))
    assert [len(contributors) for contributors in run.contributors] == [count] * 6
    assert sum(found.values()) == pytest.approx(gained, rel=5e-3)
    assert found == pytest.approx(truth, abs=0.03 * abs(gained))


def test_each_holders_part_in_a_step_adds_up_to_it():
    parties = make_consortium(rounds=4, server_optimizer="adam", server_learning_rate=0.2)
    run = complete(parties, reachable=gone("bern", when=in_round(2)))
    steps = holder_steps(parties.updates, run.contributors, parties.terms)
    for before, after, parts in zip(run.models, run.models[1:], steps, strict=False):
        assert set(parts) == set(parties.holders)  # what is remembered of the missing one moves the model too
        assert sum(parts.values()) == pytest.approx((after - before).astype(float), abs=1e-6)


def test_a_holder_whose_labels_are_worth_nothing_contributes_least():
    run = complete(make_consortium(FOUR, flipped=FLIPPED, rounds=6))
    values = run.contributions.by_holder
    assert min(values, key=values.__getitem__) == "delft"


def test_contributions_are_those_of_the_updates_really_sent(parties):
    """The value is <g, d_i> with the plaintext that the observer heard, though only ciphertexts were used."""
    run = complete(parties)
    truth = dict.fromkeys(parties.holders, 0.0)
    for number, (before, after) in enumerate(zip(run.models, run.models[1:], strict=False), start=1):
        g = path_gradient(parties.reference.gradient, before.astype(float), after.astype(float), points=4)
        for holder, update in zip(truth, parties.updates.of_round(number, list(truth)), strict=True):
            truth[holder] += float(g @ update)
    assert run.contributions.by_holder == pytest.approx(truth, rel=1e-3)


def test_one_number_for_each_holder_leaves_encryption_once(parties):
    channel = DirectChannel(holders=parties.holders)
    run = train(parties, channel)
    open_contributions(parties, run, channel)
    (facts,) = run.facts("contributions.opened")
    assert [(part["holder"], part["part"]) for part in facts["parts"]] == [
        (name, 0) for name in (CANARY, *parties.holders)
    ]
    assert [holder for kind, holder in channel.asked if kind == "open_contributions"] == ["ahus", "bern"]
    with pytest.raises(ValuationError, match="masked before"):
        open_contributions(parties, run, channel)


def test_what_openers_see_is_hidden_by_the_masks(parties):
    run = complete(parties)
    modulus = parties.session.parameters.plain_modulus
    for part in run.facts("contributions.opened")[0]["parts"]:
        opened, mask = int(part["opened"]), int(part["mask"])
        hidden = (opened - mask) % modulus
        assert hidden not in (opened, mask) and mask > 0
    assert len({part["mask"] for part in run.facts("contributions.opened")[0]["parts"]}) == 4


def test_the_record_lets_anybody_check_who_opened_what(parties):
    run = complete(parties)
    (facts,) = run.facts("contributions.opened")
    said = {
        "samples": [f"{part['holder']}.{part['part']}" for part in facts["parts"]],
        "values": [part["opened"] for part in facts["parts"]],
    }
    for holder, signature in facts["openers"].items():
        parties.session.check(holder, "contributions", said, signature)
    assert facts["contributions"] == run.contributions.by_holder


def opening(parties, holder, values):
    """Meddle with what one holder says it opened; signed by itself."""

    def meddle(kind, sender, reply):
        if (kind, sender) != ("open_contributions", holder):
            return reply
        false = tuple(values(reply.body.values))
        samples = [f"{name}.0" for name in (CANARY, *parties.holders)]
        facts = {"samples": samples, "values": list(false)}
        signature = parties.session.sign(parties.identities[holder], "contributions", facts)
        return changed(reply, values=false, signature=signature)

    return meddle


def test_holders_who_open_them_differently_are_not_believed(parties):
    with pytest.raises(ValuationError, match="2 holders opened the contributions to 2 different results"):
        complete(parties, meddle=opening(parties, "bern", reversed))


@pytest.mark.parametrize(
    "values",
    [
        lambda values: values[:2],
        lambda values: (*values, "1"),
        lambda values: ("-1", *values[1:]),
        lambda values: ("1.5", *values[1:]),
        lambda values: ("\u0661", *values[1:]),
        lambda values: ("", *values[1:]),
        lambda values: ("9" * 21, *values[1:]),
    ],
)
def test_what_is_no_list_of_whole_numbers_is_passed_over_and_the_next_holder_asked(parties, values):
    run = complete(parties, meddle=opening(parties, "ahus", values))
    assert run.contributions.openers == ("bern", "cork")
    assert run.facts("contributions.refused") == [{"holder": "ahus", "code": "valuation.refused"}]


def test_an_answer_that_is_not_signed_is_passed_over_and_the_next_holder_asked(parties):
    def forge(kind, holder, reply):
        return changed(reply, signature="0" * 128) if (kind, holder) == ("open_contributions", "bern") else reply

    run = complete(parties, meddle=forge)
    assert run.contributions.openers == ("ahus", "cork")
    assert run.facts("contributions.refused") == [{"holder": "bern", "code": "identity.refused"}]


def test_a_run_in_which_nothing_was_gained_or_lost_has_contributions_of_zero(parties):
    class Flat:
        def loss(self, model):
            return 1.0

        def gradient(self, model):
            return 0.0 * model.astype(float)

        def contrast_gradients(self, model, groups, *, scratch=IN_MEMORY):
            return groups.contrasts[:, :1] * model * 0

        def metrics(self, model):
            return {}

    flat = replace(parties, reference=Flat())
    channel = DirectChannel(holders=parties.holders)
    run = train(flat, channel)
    contributions = open_contributions(flat, run, channel)
    assert contributions.by_holder == {"ahus": 0.0, "bern": 0.0, "cork": 0.0}
    assert contributions.numbers_opened == 0


@pytest.mark.parametrize("scheme", ["seal", "seeded"])
def test_where_none_are_measured_nothing_but_sums_is_opened_and_values_share_words(scheme):
    packed = EncryptionTerms(scheme=scheme, bound=8.0, value_bits=10, values_per_word=4)
    parties = make_consortium(encryption=packed, valuation={"method": "none"})
    channel = DirectChannel(holders=parties.holders)
    run = train(parties, channel)
    found = open_contributions(parties, run, channel)
    assert found.by_holder == {"ahus": 40 / 90, "bern": 30 / 90, "cork": 20 / 90}
    assert (found.numbers_opened, found.openers) == (0, ())
    assert "open_contributions" not in {kind for kind, _ in channel.asked}
    whole = complete(make_consortium(valuation={"method": "none"}))
    assert run.models[-1] == pytest.approx(whole.models[-1], abs=0.1)  # steps of 0.012 instead of 1.5e-5


def test_a_holder_opens_no_contribution_where_none_are_measured():
    parties = make_consortium(valuation={"method": "none"})
    complete(parties)
    task = Parcel(body=ContributionsTask(**parties.session.address, samples=(), confirmations={}))
    with pytest.raises(EncryptionError, match="no contributions measured"):
        parties.holders["ahus"].answer("open_contributions", task)
