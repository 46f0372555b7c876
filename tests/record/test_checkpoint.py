import dataclasses

import pytest

from fedjoint.errors import RecordError
from fedjoint.identity.keys import Identity
from fedjoint.record.checkpoint import (
    Checkpoint,
    InclusionProof,
    SignedCheckpoint,
    continues,
    countersign,
    require_included,
    require_signed,
    sign_checkpoint,
)
from fedjoint.record.merkle import EMPTY_ROOT, MerkleTree, leaf_hash

EXCHANGE, HOLDER = Identity.create("exchange", "Exchange"), Identity.create("a", "A")
ENTRIES = [bytes([number]) for number in range(9)]
TREE = MerkleTree(map(leaf_hash, ENTRIES))


def checkpoint(size: int, *, tree: MerkleTree = TREE, origin: str = "log/1") -> Checkpoint:
    return Checkpoint(origin=origin, size=size, root=tree.root(size).hex(), at="2026-12-31T00:00:00Z")


def proof(old: int, new: int, *, tree: MerkleTree = TREE) -> list[str]:
    return [node.hex() for node in tree.consistency(old, new)]


def signed(size: int) -> SignedCheckpoint:
    return sign_checkpoint(checkpoint(size), EXCHANGE)


def test_a_checkpoint_is_accepted_with_its_coordinators_and_witness_signatures():
    one = signed(5)
    countersigned = countersign(one, HOLDER, coordinator=EXCHANGE.public, seen=None)
    whole = dataclasses.replace(one, witnesses={"a": countersigned})
    require_signed(whole, EXCHANGE.public, witnesses={"a": HOLDER.public}, minimum=1)


def test_too_few_witnesses_are_refused():
    with pytest.raises(RecordError, match="0 witnesses countersigned the checkpoint; expected at least 1"):
        require_signed(signed(5), EXCHANGE.public, witnesses={"a": HOLDER.public}, minimum=1)


@pytest.mark.parametrize(("field", "value"), [("size", 4), ("at", "2027-01-01T00:00:00Z"), ("origin", "log/2")])
def test_a_checkpoint_changed_after_signing_is_refused(field, value):
    one = signed(5)
    changed = dataclasses.replace(one, checkpoint=dataclasses.replace(one.checkpoint, **{field: value}))
    with pytest.raises(RecordError, match="the signature for 'checkpoint' is not that of 'exchange'"):
        require_signed(changed, EXCHANGE.public)


def test_a_coordinators_signature_is_none_of_a_witness():
    one = signed(5)
    with pytest.raises(RecordError, match="the signature for 'checkpoint-witness'"):
        require_signed(
            dataclasses.replace(one, witnesses={"exchange": one.signature}),
            EXCHANGE.public,
            witnesses={"exchange": EXCHANGE.public},
        )


def test_a_strangers_countersignature_is_refused():
    one = dataclasses.replace(signed(5), witnesses={"b": "00" * 64})
    with pytest.raises(RecordError, match="'b' countersigned a checkpoint and is no witness of this log"):
        require_signed(one, EXCHANGE.public, witnesses={"a": HOLDER.public})


def test_a_witness_countersigns_a_log_that_grew_and_the_same_one_again():
    for old, new in ((1, 9), (4, 8), (5, 7), (6, 6)):
        countersign(signed(new), HOLDER, coordinator=EXCHANGE.public, seen=checkpoint(old), proof=proof(old, new))


def test_a_witness_countersigns_nothing_that_the_coordinator_did_not_sign():
    forged = sign_checkpoint(checkpoint(5), HOLDER)
    with pytest.raises(RecordError, match="is not that of 'exchange'"):
        countersign(forged, HOLDER, coordinator=EXCHANGE.public, seen=None)


def test_two_histories_are_refused_whatever_the_proof():
    other = MerkleTree(leaf_hash(bytes([number + 1])) for number in range(9))
    with pytest.raises(RecordError, match="does not begin with the 5 that were signed"):
        continues(checkpoint(5), checkpoint(9, tree=other), proof(5, 9, tree=other))
    with pytest.raises(RecordError, match="do not have the same history"):
        continues(checkpoint(5), checkpoint(5, tree=other), [])
    with pytest.raises(RecordError, match="do not have the same history"):
        continues(checkpoint(5), checkpoint(9, tree=other), proof(5, 9))


def test_a_log_that_was_cut_or_replaced_is_refused():
    with pytest.raises(RecordError, match="with at least 5"):
        continues(checkpoint(5), checkpoint(4), [])
    with pytest.raises(RecordError, match="one of log 'log/1'"):
        continues(checkpoint(5), checkpoint(6, origin="log/2"), proof(5, 6))


def test_the_empty_log_is_the_beginning_of_any():
    empty = Checkpoint(origin="log/1", size=0, root=EMPTY_ROOT.hex(), at="2026-12-31T00:00:00Z")
    continues(empty, checkpoint(5), [])


def test_an_entry_is_shown_to_be_in_the_log_by_its_proof():
    for place, entry in enumerate(ENTRIES[:7]):
        path = tuple(node.hex() for node in TREE.inclusion(place, 7))
        require_included(entry, InclusionProof(place=place, path=path), checkpoint(7))
        with pytest.raises(RecordError, match=f"entry {place} is not in the log of 7"):
            require_included(b"another", InclusionProof(place=place, path=path), checkpoint(7))


def test_malformed_hashes_of_proofs_are_refused():
    with pytest.raises(RecordError, match="malformed hash"):
        InclusionProof(place=0, path=("AB" * 32,))
    with pytest.raises(RecordError, match="a proof's hash is 'x'"):
        continues(checkpoint(5), checkpoint(6), ["x"])


@pytest.mark.parametrize(
    "change",
    [
        {"origin": ""},
        {"origin": "a b"},
        {"root": "AB" * 32},
        {"size": -1},
        {"size": 2**41},
        {"size": 0},
        {"at": "yesterday"},
        {"at": "2026-12-31T00:00:00"},
        {"at": "2026-12-31T00:00:00+08:00"},
    ],
)
def test_a_malformed_checkpoint_is_refused(change):
    with pytest.raises(RecordError, match="a checkpoint"):
        dataclasses.replace(checkpoint(5), **change)
