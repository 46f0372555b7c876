"""Runs in their order, how far each is, the statements that came out of them, and those of the pool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from fedjoint.errors import TrainingError
from fedjoint.exchange.tables_store_sql import POOL_STATEMENTS, RUNS, STATEMENTS, WISHES
from fedjoint.pool.engine_store_sql import Database

__all__ = ["PoolStatementEntry", "PoolStatements", "RunEntry", "Runs", "StatementEntry", "Wishes"]


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """A run: ``queued``, ``running``, ``finished`` or ``failed``.

    Args:
        seq: Its place in the queue.
        run_id: 32 hex digits.
        agreement: SHA-256.
        name: Of its folder.
        gross_minor: The revenue it splits.
        buyer: Who pays that.
        state: See above.
        queued_at: When it was asked for.
        started_at: When it began.
        ended_at: When it ended.
        round: Rounds done.
        rounds: Rounds agreed.
        words: For people: why it ended.
        model_sha256: Of the final model's file.
        stragglers: Holder to the rounds it missed, and why the last time, as JSON.
    """

    seq: int
    run_id: str
    agreement: str
    name: str
    gross_minor: int
    buyer: str
    state: str
    queued_at: str
    started_at: str | None
    ended_at: str | None
    round: int
    rounds: int
    words: str
    model_sha256: str | None
    stragglers: str


@dataclass(frozen=True, kw_only=True)
class StatementEntry:
    """A holder's statement of a run; the document is canonical JSON, signed."""

    run_id: str
    party: str
    agreement: str
    at: str
    document: str


@dataclass(frozen=True, kw_only=True)
class PoolStatementEntry:
    """A holder's statement of the pool; the document is canonical JSON, signed."""

    id: str
    party: str
    at: str
    document: str


class Runs:
    """The runs of an exchange, in its database.

    Args:
        database: The exchange's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue(self, run: Mapping[str, object], *, at: str) -> None:
        """Put a run at the end of the queue.

        Args:
            run: ``run_id``, ``agreement``, ``name``, ``gross_minor``, ``buyer`` and ``rounds``.
            at: The present.

        Raises:
            TrainingError: a run of the same agreement is queued, running or finished: its epsilon is for one run.
        """

        def work(connection: sa.Connection) -> None:
            same = (RUNS.c.agreement == run["agreement"]) & (RUNS.c.state != "failed")
            before = connection.execute(sa.select(RUNS.c.run_id, RUNS.c.state).where(same)).one_or_none()
            if before is not None:
                raise TrainingError(
                    f"agreement {str(run['agreement'])[:16]}… has a run already: {before.run_id} is {before.state}",
                    expected="one run under an agreement",
                    remedy="Propose a new agreement for another run: it has a budget of its own.",
                )
            row = {**run, "queued_at": at, "state": "queued", "round": 0, "words": "", "stragglers": "{}"}
            connection.execute(RUNS.insert().values(**row))

        self._database.write(work)

    def all(self, *, agreement: str | None = None) -> tuple[RunEntry, ...]:
        """Runs, oldest first; of one agreement, or all."""
        query = sa.select(RUNS).order_by("seq")
        if agreement is not None:
            query = query.where(RUNS.c.agreement == agreement)
        with self._database.read() as connection:
            return tuple(RunEntry(**row) for row in connection.execute(query).mappings())

    def next(self) -> RunEntry | None:
        """What to conduct now: a run that was interrupted, else the oldest of the queue."""
        waiting = [run for run in self.all() if run.state in ("running", "queued")]
        return min(waiting, key=lambda run: (run.state == "queued", run.seq), default=None)

    def begin(self, run_id: str, *, at: str) -> None:
        """Note that a run has begun, or goes on."""
        self._set(run_id, {"state": "running", "started_at": sa.func.coalesce(RUNS.c.started_at, at)})

    def progress(self, run_id: str, *, round_number: int, stragglers: Mapping[str, Mapping[str, object]]) -> None:
        """Note a round, and who has missed rounds so far."""
        self._set(run_id, {"round": round_number, "stragglers": json.dumps(stragglers, sort_keys=True)})

    def fail(self, run_id: str, *, words: str, at: str) -> None:
        """Note that a run has ended without a result."""
        self._set(run_id, {"state": "failed", "ended_at": at, "words": words[:4_000]})

    def finish(self, run_id: str, *, words: str, model_sha256: str, statements: Mapping[str, str], at: str) -> None:
        """Note that a run has a result, and keep its statements, in one step.

        Args:
            run_id: The run.
            words: Why training ended.
            model_sha256: Of the model's file.
            statements: Holder to its signed statement.
            at: The present.
        """

        def work(connection: sa.Connection) -> None:
            agreement = connection.execute(sa.select(RUNS.c.agreement).where(RUNS.c.run_id == run_id)).scalar_one()
            values = {"state": "finished", "ended_at": at, "words": words, "model_sha256": model_sha256}
            connection.execute(RUNS.update().where(RUNS.c.run_id == run_id).values(**values))
            rows = [
                {"run_id": run_id, "party": party, "agreement": agreement, "at": at, "document": document}
                for party, document in sorted(statements.items())
            ]
            connection.execute(STATEMENTS.insert(), rows)

        self._database.write(work)

    def statements(self, party: str) -> tuple[StatementEntry, ...]:
        """A holder's statements, oldest first."""
        query = sa.select(*(column for column in STATEMENTS.c if column.name != "seq")).order_by(STATEMENTS.c.seq)
        with self._database.read() as connection:
            rows = connection.execute(query.where(STATEMENTS.c.party == party)).mappings()
            return tuple(StatementEntry(**row) for row in rows)

    def _set(self, run_id: str, values: Mapping[str, object]) -> None:
        self._database.write(
            lambda connection: connection.execute(RUNS.update().where(RUNS.c.run_id == run_id).values(**values))
        )


class PoolStatements:
    """Statements of the pool that holders may fetch, in the exchange's database.

    Args:
        database: The exchange's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, entry: PoolStatementEntry) -> None:
        """Keep a statement; one of the same id is replaced, as its proof may be of an older record."""

        def work(connection: sa.Connection) -> None:
            connection.execute(POOL_STATEMENTS.delete().where(POOL_STATEMENTS.c.id == entry.id))
            connection.execute(POOL_STATEMENTS.insert().values(**vars(entry)))

        self._database.write(work)

    def of(self, party: str) -> tuple[PoolStatementEntry, ...]:
        """A holder's, oldest first."""
        columns = [column for column in POOL_STATEMENTS.c if column.name != "seq"]
        query = sa.select(*columns).where(POOL_STATEMENTS.c.party == party).order_by(POOL_STATEMENTS.c.seq)
        with self._database.read() as connection:
            return tuple(PoolStatementEntry(**row) for row in connection.execute(query).mappings())


class Wishes:
    """What an operator asks of the process that serves: another process writes it, that one reads it.

    Args:
        database: The exchange's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def make(self, name: str, *, at: str) -> None:
        """Ask for something."""

        def work(connection: sa.Connection) -> None:
            connection.execute(WISHES.delete().where(WISHES.c.name == name))
            connection.execute(WISHES.insert().values(name=name, at=at))

        self._database.write(work)

    def take(self, name: str) -> bool:
        """Whether it was asked for; it is not asked for any more then."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(WISHES.c.name).where(WISHES.c.name == name)).scalar()
        if found is None:
            return False
        self._database.write(lambda connection: connection.execute(WISHES.delete().where(WISHES.c.name == name)))
        return True
