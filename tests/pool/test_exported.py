"""An exported pool verifies with everything that can happen in it, and not with anything else."""

import dataclasses
import json
import tracemalloc

import pytest

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.errors import FedjointError, PoolError
from fedjoint.pool import receipts
from fedjoint.pool.exported import POOL_LEDGER, POOL_RECORD, export_pool, sign_pool, verify_pool
from fedjoint.pool.facts import Invoice, Received
from fedjoint.pool.replay import replay
from fedjoint.pool.state import DECIDING
from fedjoint.record.checkpoint import Checkpoint, sign_checkpoint
from fedjoint.record.log import Event
from fedjoint.record.merkle import Frontier, leaf_hash
from tests.pool.consortium import PEOPLE
from tests.pool.small_pool import SmallPool, at
from tests.pool.year import live


@pytest.fixture(scope="module")
def pool():
    return live()


@pytest.fixture
def folder(pool, tmp_path):
    export_pool(pool.store, tmp_path, PEOPLE["exchange"])
    return tmp_path


def signed_again(lines: list[bytes], folder) -> None:
    """A coordinator that signs whatever it likes."""
    frontier = Frontier()
    for line in lines:
        frontier.append(leaf_hash(line))
    checkpoint = Checkpoint(origin="pool/small", size=frontier.size, root=frontier.root().hex(), at=at(12))
    signed = canonical_bytes(sign_checkpoint(checkpoint, PEOPLE["exchange"]))
    (folder / POOL_RECORD).write_bytes(b"".join(line + b"\n" for line in [*lines, signed]))


def changed(line: bytes, **body) -> bytes:
    event = json.loads(line)
    return canonical_bytes({**event, "body": {**event["body"], **body}})


def test_everything_that_can_happen_verifies(pool, folder):
    assert verify_pool(folder, PEOPLE["exchange"].public) == pool.state()
    kinds = {event.type for event in pool.store.events()}
    assert set(DECIDING) < kinds
    assert pool.store.ledger.check() == []
    assert pool.balance("bank", "USD") == 0
    assert pool.balance("reserve") == 50_000


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("revenue.settled", {"payouts_minor": {"a": 1}}),
        ("revenue.given back", {"premium_minor": 1}),
        ("reserve.returned", {"target_minor": 49_999}),
        ("money.paid out", {"paid_minor": {}}),
        ("voucher.expired", {"left_minor": 1}),
        ("money.deposited", {"amount_minor": 9_999}),
        ("revenue.received", {"invoices": [], "queries": []}),
        ("claim.moved", {"paid_minor": 7}),
    ],
)
def test_a_coordinator_that_signs_other_facts_is_found_out(folder, kind, body):
    lines = (folder / POOL_RECORD).read_bytes().splitlines()[:-1]
    place = next(place for place, line in enumerate(lines) if json.loads(line)["type"] == kind)
    signed_again([*lines[:place], changed(lines[place], **body), *lines[place + 1 :]], folder)
    with pytest.raises(FedjointError):
        verify_pool(folder, PEOPLE["exchange"].public)


def test_a_step_told_twice_is_found_out(folder):
    lines = (folder / POOL_RECORD).read_bytes().splitlines()[:-1]
    place = next(place for place, line in enumerate(lines) if json.loads(line)["type"] == "revenue.received")
    again = canonical_bytes({**json.loads(lines[place]), "seq": len(lines)})
    signed_again([*lines, again], folder)
    with pytest.raises(PoolError, match=r"entry 'invoice/i' stands twice"):
        verify_pool(folder)


def test_an_event_of_an_unknown_kind_is_refused():
    event = Event(seq=0, type="money.minted", at=at(1), body={})
    with pytest.raises(PoolError, match=r"unknown type 'money\.minted'"):
        list(replay([event]))


def test_events_that_belong_together_are_missed(pool):
    events = list(pool.store.events())
    place = next(place for place, event in enumerate(events) if event.type == "subscription.earned")
    repeated = [*events[: place + 1], dataclasses.replace(events[place], seq=place + 1)]
    with pytest.raises(PoolError, match="says again what was said before"):
        list(replay(repeated))


def test_only_the_exchange_signs_its_pool(pool, tmp_path):
    with pytest.raises(PoolError, match="'a' does not keep this pool"):
        sign_pool(pool.store, PEOPLE["a"], at=at(12))
    with pytest.raises(PoolError, match="no rules yet"):
        from fedjoint.pool.record_store_sql import PoolStore

        with PoolStore.open("sqlite://") as store:
            sign_pool(store, PEOPLE["exchange"], at=at(12))


def verified_peak(revenues: int, folder) -> int:
    """Bytes that verification needs at most for so many revenues, in steps of 50."""
    pool = SmallPool()
    for start in range(0, revenues, 50):
        invoices = tuple(Invoice(id=f"i{start + n}", buyer="buyer", amount_minor=5) for n in range(50))
        received = Received(currency="CNY", invoices=invoices)
        pool.act(lambda state, books, received=received: receipts.receive(state, received, books=books, at=at(3)))
    export_pool(pool.store, folder, PEOPLE["exchange"])
    verify_pool(folder)
    tracemalloc.start()
    verify_pool(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_revenues(tmp_path):
    assert verified_peak(800, tmp_path) < 1.2 * verified_peak(200, tmp_path)
    assert (tmp_path / POOL_LEDGER).stat().st_size > 15_000
