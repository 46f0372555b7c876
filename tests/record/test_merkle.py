import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import RecordError
from fedjoint.record.merkle import (
    EMPTY_ROOT,
    Frontier,
    MerkleTree,
    leaf_hash,
    node_hash,
    root_by_consistency,
    root_by_inclusion,
)

#: The reference tree of Certificate Transparency (google/certificate-transparency, merkle_tree_test): eight entries,
#: the roots of each prefix, and some of its proofs.
ENTRIES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSIONS = {
    (0, 1): [],
    (2, 3): [ROOTS[2]],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CONSISTENCIES = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
REFERENCE = MerkleTree(leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES)
SIZES = st.integers(1, 70).flatmap(lambda new: st.tuples(st.integers(1, new), st.just(new)))
TREE = MerkleTree(leaf_hash(bytes([number])) for number in range(70))


def recursive_root(leaves: list[bytes]) -> bytes:
    """The standard's definition, word for word (RFC 9162, section 2.1.1)."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(recursive_root(leaves[:split]), recursive_root(leaves[split:]))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size):
    assert REFERENCE.root(size).hex() == ROOTS[size]


@pytest.mark.parametrize(("place", "size"), INCLUSIONS)
def test_inclusion_proofs_are_those_of_certificate_transparency(place, size):
    assert [node.hex() for node in REFERENCE.inclusion(place, size)] == INCLUSIONS[place, size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCIES)
def test_consistency_proofs_are_those_of_certificate_transparency(old, new):
    assert [node.hex() for node in REFERENCE.consistency(old, new)] == CONSISTENCIES[old, new]


def test_the_frontier_and_the_tree_have_the_root_of_the_definition_at_every_size():
    frontier, leaves = Frontier(), [leaf_hash(bytes([number])) for number in range(70)]
    for size in range(71):
        assert frontier.root() == TREE.root(size) == recursive_root(leaves[:size])
        assert frontier.size == size
        frontier.append(leaf_hash(bytes([size])))


@pytest.mark.parametrize("size", [1, 2, 7, 8, 33, 70])
def test_every_inclusion_proof_leads_to_the_root_and_to_no_other_place(size):
    root = TREE.root(size)
    for place in range(size):
        leaf, proof = leaf_hash(bytes([place])), TREE.inclusion(place, size)
        assert root_by_inclusion(leaf, place, size=size, proof=proof) == root
        for other in {(place + 1) % size, size - 1} - {place}:
            with contextlib.suppress(RecordError):
                assert root_by_inclusion(leaf, other, size=size, proof=proof) != root


@given(SIZES)
def test_every_consistency_proof_leads_from_the_old_root_to_the_new(sizes):
    old, new = sizes
    proof = TREE.consistency(old, new)
    if old == new:
        assert proof == ()
    else:
        assert root_by_consistency(TREE.root(old), old=old, new=new, proof=proof) == TREE.root(new)


@given(SIZES.filter(lambda sizes: sizes[0] < sizes[1]), st.data())
def test_a_consistency_proof_with_any_hash_changed_is_refused_or_leads_elsewhere(sizes, data):
    old, new = sizes
    proof = list(TREE.consistency(old, new))
    place = data.draw(st.integers(0, len(proof) - 1))
    proof[place] = leaf_hash(proof[place])
    try:
        assert root_by_consistency(TREE.root(old), old=old, new=new, proof=proof) != TREE.root(new)
    except RecordError as problem:
        assert "does not begin with" in str(problem)


@given(SIZES.filter(lambda sizes: sizes[0] < sizes[1]))
def test_another_history_has_no_consistency_proof(sizes):
    old, new = sizes
    other = MerkleTree(leaf_hash(bytes([number ^ (number == 0)])) for number in range(70))
    try:
        shown = root_by_consistency(TREE.root(old), old=old, new=new, proof=other.consistency(old, new))
        assert shown != other.root(new)
    except RecordError as problem:
        assert "does not begin with" in str(problem)


def test_an_entry_cannot_pass_for_an_inner_node():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize(("place", "size"), [(-1, 3), (3, 3), (0, 0), (0, 2**41)])
def test_a_place_outside_the_log_is_refused(place, size):
    with pytest.raises(RecordError, match="a place in the log"):
        root_by_inclusion(leaf_hash(b""), place, size=size, proof=[])


@pytest.mark.parametrize(("old", "new"), [(0, 3), (3, 3), (4, 3)])
def test_a_consistency_proof_of_sizes_out_of_order_is_refused(old, new):
    with pytest.raises(RecordError, match="a log that grew"):
        root_by_consistency(EMPTY_ROOT, old=old, new=new, proof=[])


@pytest.mark.parametrize(("change", "words"), [(-1, "too short"), (1, "too long")])
def test_proofs_of_the_wrong_length_are_refused(change, words):
    inclusion, consistency = list(TREE.inclusion(5, 33)), list(TREE.consistency(5, 33))
    inclusion = inclusion[:change] if change < 0 else [*inclusion, ROOTS[0].encode()[:32]]
    consistency = consistency[:change] if change < 0 else [*consistency, ROOTS[0].encode()[:32]]
    with pytest.raises(RecordError, match=words):
        root_by_inclusion(leaf_hash(bytes([5])), 5, size=33, proof=inclusion)
    with pytest.raises(RecordError, match=words if change > 0 else "does not begin with"):
        root_by_consistency(TREE.root(5), old=5, new=33, proof=consistency)
    with pytest.raises(RecordError, match="the consistency proof is empty"):
        root_by_consistency(TREE.root(5), old=5, new=33, proof=[])


def test_a_hash_of_the_wrong_length_is_refused():
    with pytest.raises(RecordError, match="not 32 bytes long"):
        root_by_inclusion(leaf_hash(b""), 0, size=2, proof=[b"short"])


@pytest.mark.parametrize("ask", [lambda: TREE.root(71), lambda: TREE.inclusion(3, 3), lambda: TREE.consistency(4, 3)])
def test_a_proof_beyond_the_log_is_refused(ask):
    with pytest.raises(RecordError, match="a part of the log"):
        ask()
