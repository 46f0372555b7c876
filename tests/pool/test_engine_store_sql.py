from __future__ import annotations

import sqlite3
import sys

import pytest
import sqlalchemy as sa

from fedjoint.errors import PoolError
from fedjoint.pool.engine_store_sql import URL_VARIABLE, Database, database_url, name_of

FILE = "sqlite:////data/ledger.sqlite"


def test_the_option_wins_over_the_environment_and_that_over_the_default():
    environment = {URL_VARIABLE: "postgresql://exchange:secret@db/pool"}
    assert database_url("sqlite://", environment, default=FILE) == "sqlite://"
    assert database_url(None, environment, default=FILE) == environment[URL_VARIABLE]
    assert database_url(None, {}, default=FILE) == FILE


def test_a_password_on_the_command_line_is_refused_and_not_repeated():
    with pytest.raises(PoolError, match="pgpass") as problem:
        database_url("postgresql://exchange:secret@db/pool", {}, default=FILE)
    assert "secret" not in str(problem.value)


def test_a_malformed_url_is_refused():
    for use in (name_of, Database.open):
        with pytest.raises(PoolError, match="malformed"):
            use("no url")


def test_a_database_is_called_by_its_name_alone():
    assert name_of("postgresql://exchange:secret@db/pool") == "pool"
    assert (name_of(FILE), name_of("sqlite://")) == ("ledger.sqlite", "ledger in memory")


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(PoolError, match=r"fedjoint\[postgresql\]"):
        Database.open("postgresql://exchange@db/pool")


class Conflict(Exception):
    """What PostgreSQL's driver raises."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("could not serialize access")
        self.sqlstate = sqlstate


def failing(times: int, reason: Exception):
    """Work that others get in the way of, so many times."""
    tries = []

    def work(connection: sa.Connection) -> int:
        tries.append(connection.exec_driver_sql("INSERT INTO tried VALUES (1)"))
        if len(tries) <= times:
            raise sa.exc.DBAPIError("", {}, reason)
        return connection.exec_driver_sql("SELECT COUNT(*) FROM tried").scalar_one()

    return work


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def database(pauses):
    made = Database(sa.create_engine("sqlite://", poolclass=sa.StaticPool), "ledger", sleep=pauses.append)
    made.write(lambda connection: connection.exec_driver_sql("CREATE TABLE tried (n INTEGER)"))
    yield made
    made.engine.dispose()


def busy() -> sqlite3.OperationalError:
    problem = sqlite3.OperationalError("database is locked")
    problem.sqlite_errorname = "SQLITE_BUSY"
    return problem


@pytest.mark.parametrize("reason", [Conflict("40001"), Conflict("40P01"), Conflict("23505"), busy()])
def test_work_that_others_got_in_the_way_of_is_done_again_from_the_start(database, pauses, reason):
    assert database.write(failing(3, reason)) == 1
    assert pauses == [0.005, 0.01, 0.02]


def test_work_that_others_always_get_in_the_way_of_is_refused_in_words(database, pauses):
    with pytest.raises(PoolError, match="ledger refuses: could not serialize"):
        database.write(failing(100, Conflict("40001")))
    assert len(pauses) == 11


def test_what_is_wrong_in_itself_is_not_tried_again(database, pauses):
    with pytest.raises(PoolError, match="ledger refuses"):
        database.write(failing(1, Conflict("23514")))
    assert pauses == []
