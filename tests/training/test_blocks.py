import pytest

from fedjoint.agreement.slots import block_at, block_slot, contributions_slot, final_slot
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.opened import ToOpen
from fedjoint.errors import EncryptionError, FedjointError, InvalidValue, ValuationError
from fedjoint.training.block_messages import OpenBlockTask
from fedjoint.training.blocks import disclosed_with, require_blocks
from fedjoint.training.plan import ConfirmTask, Parcel
from tests.fakes import JOINT_PRIVACY, LOCAL_PRIVACY, NO_PRIVACY, complete, gone, in_round, make_consortium

SIX = {name: 20 + place for place, name in enumerate(("ahus", "bern", "cork", "delft", "essen", "faro"))}
BLOCKS = (("ahus", "bern", "cork"), ("delft", "essen", "faro"))


def consortium(blocks=BLOCKS, sizes=SIX, privacy=LOCAL_PRIVACY, **agreed):
    return make_consortium(sizes, privacy=privacy, valuation={"audit_blocks": blocks}, rounds=2, **agreed)


@pytest.fixture(scope="module")
def finished():
    parties = consortium()
    return parties, complete(parties)


def test_what_is_opened_of_a_block_is_the_sum_of_its_members_updates(finished):
    parties, run = finished
    sent = {(number, holder): update for number, holder, update in parties.updates.items()}
    assert set(run.coordinator.block_sums) == {(number, block) for number in (1, 2) for block in (0, 1)}
    for (number, block), levels in run.coordinator.block_sums.items():
        found = dequantise_sum(levels, 3, parties.session.parameters)
        assert found == pytest.approx(sum(sent[number, member] for member in BLOCKS[block]), abs=1e-12)


def test_each_block_is_confirmed_by_a_quorum_in_a_place_of_its_own_and_signed_by_two(finished):
    parties, run = finished
    confirmed = [body["subject"]["slot"] for body in run.facts("opening.confirmed")]
    places = [block_slot(parties.terms, number, block) for number in (1, 2) for block in (0, 1)]
    assert len(set(confirmed)) == len(confirmed) and set(places) <= set(confirmed)
    assert [block_at(parties.terms, place) for place in places] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert max(places) == final_slot(parties.terms)
    assert block_at(parties.terms, contributions_slot(parties.terms)) is None
    assert all(len(body["opened"]) == 2 for body in run.facts("block.opened"))


def test_a_block_whose_rest_would_be_told_is_refused_and_the_run_goes_on():
    """Without one of six the total less a block is of two, each of whom could tell the other's update."""
    run = complete(consortium(), reachable=gone("faro", when=in_round(2)))
    assert [(body["round"], body["block"]) for body in run.facts("block.opened")] == [(1, 0), (1, 1)]
    (refused,) = run.facts("block.refused")
    assert (refused["round"], refused["block"]) == (2, 0)
    assert set(refused["refusals"].values()) == {"valuation.refused"}
    assert len(run.rounds) == 2 and run.contributions.by_holder["faro"] != 0


@pytest.mark.parametrize(
    ("sizes", "blocks"), [(dict(list(SIX.items())[:4]), (BLOCKS[0],)), (dict(list(SIX.items())[:5]), (BLOCKS[0],))]
)
def test_an_agreement_whose_blocks_leave_too_few_over_is_not_signed(sizes, blocks):
    with pytest.raises(ValuationError, match="would give away the update of"):
        consortium(blocks, sizes)


def test_blocks_that_leave_three_over_or_nobody_are_fine():
    require_blocks(consortium((BLOCKS[0],)).terms)
    require_blocks(consortium((tuple(SIX),)).terms)


@pytest.mark.parametrize(
    ("blocks", "privacy", "words"),
    [
        ((("ahus", "bern"),), LOCAL_PRIVACY, "2 in the smallest"),
        ((("bern", "ahus", "cork"),), LOCAL_PRIVACY, "sorted"),
        ((BLOCKS[0], BLOCKS[0]), LOCAL_PRIVACY, "nobody in two"),
        ((("ahus", "bern", "zug"),), LOCAL_PRIVACY, "'zug' in valuation.audit_blocks"),
        (BLOCKS, NO_PRIVACY, "in mode none"),
        (BLOCKS, JOINT_PRIVACY, "in mode joint"),
    ],
)
def test_blocks_without_a_meaning_are_refused(blocks, privacy, words):
    with pytest.raises(InvalidValue, match=words):
        consortium(blocks, privacy=privacy)


def subject(terms, number, block, members):
    return ToOpen(slot=block_slot(terms, number, block), contributors=members, sha256="ab" * 32)


def test_what_was_signed_for_counts_in_every_later_round(finished):
    terms = finished[0].terms
    known = {"1": tuple(SIX)}
    once = disclosed_with(terms, known, subject(terms, 1, 0, BLOCKS[0]))
    assert once == {"1": tuple(SIX), str(block_slot(terms, 1, 0)): BLOCKS[0]}
    assert disclosed_with(terms, once, subject(terms, 1, 0, BLOCKS[0])) == once  # asked again
    without = disclosed_with(terms, once, ToOpen(slot=2, contributors=tuple(SIX)[:5], sha256="cd" * 32))
    with pytest.raises(ValuationError, match="in round 2 would give away the update of"):
        disclosed_with(terms, without, subject(terms, 2, 0, BLOCKS[0]))


def test_other_members_than_agreed_are_refused(finished):
    terms = finished[0].terms
    with pytest.raises(EncryptionError, match="expected the members that were agreed"):
        disclosed_with(terms, {}, subject(terms, 1, 0, BLOCKS[1]))


def test_a_holder_confirms_and_opens_no_block_that_was_not_agreed_or_not_confirmed(finished):
    parties, _ = finished
    address, holder = parties.session.address, parties.holders["bern"]
    wrong = subject(parties.terms, 2, 1, BLOCKS[0])
    with pytest.raises(FedjointError):
        holder.answer("confirm", Parcel(body=ConfirmTask(**address, subject=wrong)))
    for number, block in ((1, 2), (3, 0), (1, -1), (0, 0)):
        task = OpenBlockTask(**address, round=number, block=block, confirmations={})
        with pytest.raises(EncryptionError, match="expected a block that was agreed"):
            holder.answer("open_block", Parcel(body=task, blobs={"sum": b""}))
    with pytest.raises(FedjointError):
        task = OpenBlockTask(**address, round=1, block=0, confirmations={})
        holder.answer("open_block", Parcel(body=task, blobs={"sum": b"rubbish"}))


def test_without_agreed_blocks_there_is_no_such_place():
    parties = make_consortium(rounds=2)
    run = complete(parties)
    assert final_slot(parties.terms) == contributions_slot(parties.terms)
    assert not run.facts("block.opened") and not run.coordinator.block_sums
    beyond = ToOpen(slot=final_slot(parties.terms) + 1, contributors=("ahus", "bern", "cork"), sha256="ab" * 32)
    with pytest.raises(EncryptionError, match="nothing is opened in place"):
        parties.holders["bern"].answer("confirm", Parcel(body=ConfirmTask(**parties.session.address, subject=beyond)))
