import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.errors import PoolError
from fedjoint.identity.keys import Identity
from fedjoint.pool.engine_store_sql import Database
from fedjoint.pool.ledger import Entry, move
from fedjoint.pool.migrations.apply import upgrade
from fedjoint.pool.record_change import Change
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.record.checkpoint import Checkpoint, sign_checkpoint
from fedjoint.record.log import Event
from fedjoint.record.merkle import leaf_hash
from tests.pool.small_pool import SmallPool

AT = "2026-11-30T12:00:00Z"


def entry(name: str, amount: int = 5) -> Entry:
    return Entry(
        id=name, at=AT, kind="invoice", currency="CNY", postings=move({"receivable:b": -amount, "escrow": amount})
    )


def change(number: int, *entries: Entry) -> Change:
    return Change(at=AT, events=(("noted", {"number": number}),), entries=entries)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.sqlite"


def test_events_and_entries_are_written_together_and_read_back(url):
    with PoolStore.open(url) as store:
        store.act(lambda _: change(0, entry("a")))
        store.act(lambda inside: change(inside.balance("escrow", "CNY").posted_minor))
    with PoolStore.open(url) as store:
        assert [(event.seq, event.body["number"]) for event in store.events()] == [(0, 0), (1, 5)]
        assert [event.seq for event in store.events(1)] == [1]
        assert [one.id for one in store.ledger.entries()] == ["a"]


def test_a_step_that_is_refused_records_nothing(url):
    with PoolStore.open(url) as store:
        store.act(lambda _: change(0, entry("a")))
        too_much = Entry(id="b", at=AT, kind="fee", currency="CNY", postings=move({"escrow": -9, "fee": 9}))
        with pytest.raises(PoolError, match="below zero"):
            store.act(lambda _: change(1, too_much))
        with pytest.raises(PoolError, match="other content"):
            store.act(lambda _: change(1, entry("a", 6)))
        assert len(list(store.events())) == 1


def test_many_events_are_read_page_by_page(url):
    with PoolStore.open(url) as store:
        store.act(lambda _: Change(at=AT, events=tuple(("noted", {"number": n}) for n in range(1_200))))
        assert [event.seq for event in store.events()] == list(range(1_200))


def test_the_inside_shows_what_is_pending(url):
    pending = Entry(
        id="p", at=AT, kind="hold", currency="CNY", phase="pending", postings=move({"escrow": -2, "suspense": 2})
    )
    with PoolStore.open(url) as store:
        store.act(lambda _: change(0, entry("a"), pending))
        seen = []
        store.act(lambda inside: seen.append([e.id for e in inside.pending("escrow")]) or change(1))
        store.act(lambda inside: seen.append(inside.entry("p")) or change(2))
        store.act(lambda inside: seen.append([e.seq for e in inside.events(1)]) or change(3))
    assert seen == [["p"], pending, [1, 2]]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET line = '{}'",
        "DELETE FROM events",
        "INSERT INTO events VALUES (5, '{}', '')",
        "INSERT INTO events VALUES (1, '{}', 'pool.opened')",
        "INSERT OR REPLACE INTO events VALUES (0, '{}', '')",
        "DELETE FROM checkpoints",
        "UPDATE checkpoints SET line = ''",
    ],
)
def test_the_database_itself_refuses_to_change_what_is_recorded(path, statement):
    with PoolStore.open(f"sqlite:///{path}") as store:
        store.act(lambda _: change(0))
        signed = Checkpoint(origin="pool/x", size=1, root=leaf_hash(b"x").hex(), at=AT)
        store.keep_checkpoint(sign_checkpoint(signed, Identity.create("exchange", "E")))
        assert [one.checkpoint for one in store.checkpoints()] == [signed]
    raw = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
    raw.close()


def write(url: str, first: int, count: int) -> None:
    with PoolStore.open(url) as store:
        for number in range(first, first + count):
            store.act(lambda inside, number=number: change(number, entry(f"e{number}", 1 + number % 7)))


def test_writers_at_the_same_time_number_their_events_without_a_gap(url):
    PoolStore.open(url).close()
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(write, url, 100 * writer, 25) for writer in range(4)]:
            done.result()
    with PoolStore.open(url) as store:
        events = list(store.events())
        assert [event.seq for event in events] == list(range(100))
        numbers = [event.body["number"] for event in events]
        assert sorted(numbers) == [100 * writer + i for writer in range(4) for i in range(25)]
        # an event and its entry are one step: both stand in the same order
        assert [one.id for one in store.ledger.entries()] == [f"e{number}" for number in numbers]
        assert store.ledger.check() == []


def test_a_record_made_before_events_had_a_type_is_brought_up_to_date(url):
    database = Database.open(url)
    with database.engine.begin() as connection:
        upgrade(connection, "record_0002")
        line = canonical_bytes(Event(seq=0, type="noted", at=AT, body={"number": 7})).decode()
        connection.execute(sa.text("INSERT INTO events (seq, line) VALUES (0, :line)"), {"line": line})
    database.engine.dispose()
    with PoolStore.open(url) as store:
        assert [event.body["number"] for event in store.events_of("noted")] == [7]
        store.act(lambda _: change(8))
        assert [event.seq for event in store.events()] == [0, 1]
        assert list(store.events_of("another")) == []
        assert store.ledger.check() == []


def test_the_state_is_read_alike_from_every_database(url):
    pool = SmallPool(url)
    pool.settle("s1", 100_000)
    with PoolStore.open(url) as store:
        assert store.state() == pool.state()
    pool.deposit("d", 5)
    other = SmallPool.__new__(SmallPool)
    other.store = PoolStore.open(url)
    other.settle("s2", 100_000)
    assert list(pool.state().settlements) == ["s1", "s2"]
    pool.store.close()
    other.store.close()


def test_a_changed_event_is_found_by_reading_it(path):
    with PoolStore.open(f"sqlite:///{path}") as store:
        store.act(lambda _: change(0))
    raw = sqlite3.connect(path)
    raw.executescript("DROP TRIGGER events_refuse_update; UPDATE events SET line = replace(line, 'seq\":0', 'seq\":1')")
    raw.close()
    with PoolStore.open(f"sqlite:///{path}") as store, pytest.raises(PoolError, match="missing or out of place"):
        list(store.events())
