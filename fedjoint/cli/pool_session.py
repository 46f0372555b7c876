"""What the commands of pool, claim and registry share: where the pool is, who signs, and how money is confirmed."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fedjoint.pool.ledger import Entry
    from fedjoint.pool.record_change import Change
    from fedjoint.pool.record_store_sql import PoolStore
    from fedjoint.pool.state import PoolState

__all__ = ["Session", "key_option", "moves_money", "now", "parse_json_file", "pool_command", "require_yes"]

#: From the record's state and the books to what is to be recorded and posted.
Decide = Callable[["PoolState", Any], "Change"]


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True)
class Session:
    """How a command was called.

    Args:
        folder: The pool's, for SQLite.
        url: Of a database elsewhere, or None.
        as_json: Print what a program reads.
        dry_run: Show, and change nothing.
        yes: Ask no question.
    """

    folder: Path
    url: str | None
    as_json: bool
    dry_run: bool = False
    yes: bool = False

    @contextmanager
    def store(self, *, may_begin: bool = False) -> Iterator[PoolStore]:
        """The pool's database.

        Args:
            may_begin: Whether there may be none yet, so that this step is its first.

        Raises:
            PoolError: there is no pool in the folder.
        """
        from fedjoint.errors import PoolError
        from fedjoint.pool.engine_store_sql import POOL_FILE, database_url
        from fedjoint.pool.record_store_sql import PoolStore

        file = (self.folder / POOL_FILE).resolve()
        own = f"sqlite:///{file}"
        url = database_url(self.url, os.environ, default=own)
        with ExitStack() as stack:
            if url == own and not file.exists():
                if not may_begin:
                    raise PoolError(
                        f"there is no pool in '{self.folder}'",
                        remedy="Name its folder by --pool, or begin one: fedjoint pool open FILE.",
                    )
                if self.dry_run:  # a first step is tried on a pool that is gone afterwards
                    url = f"sqlite:///{stack.enter_context(TemporaryDirectory())}/{POOL_FILE}"
                else:
                    self.folder.mkdir(parents=True, exist_ok=True)
            yield stack.enter_context(PoolStore.open(url))

    def state(self) -> PoolState:
        """What the record comes to."""
        with self.store() as store:
            return store.state()

    def act(self, decide: Decide) -> Change:
        """Show what a step would do, ask, and take it.

        Raises:
            PoolError: the step is refused, or the books moved between question and answer.
        """
        with self.store(may_begin=True) as store:
            return self.act_in(store, decide)

    def act_in(self, store: PoolStore, decide: Decide) -> Change:
        """The same in a pool that is open already.

        Raises:
            PoolError: as :meth:`act`.
        """
        from fedjoint.errors import PoolError

        shown = decide(store.state(), store.ledger)
        if not shown.events:
            self.say(shown, "nothing was changed: it was done before")
            return shown
        asked = bool(shown.entries) and not self.yes and not self.dry_run
        if shown.entries and (asked or not self.as_json):
            for line in _in_words(shown.entries):
                click.echo(line, err=self.as_json)
        if self.dry_run:
            self.say(shown, "nothing was changed (dry run)")
            return shown
        if asked:
            require_yes(f"Post exactly this, {_sums(shown.entries)}?")

        def again(inside: Any) -> Change:
            change = decide(inside.state(), inside)
            if change.entries != shown.entries:
                raise PoolError("the books moved since you were asked", remedy="Repeat the command.")
            return change

        done = store.act(again)
        self.say(done, "done")
        return done

    def say(self, change: Change, words: str) -> None:
        """Tell what a step was."""
        if self.as_json:
            from fedjoint.strict import plain

            facts = {
                "result": words,
                "at": change.at,
                "events": [{"type": kind, "body": body} for kind, body in change.events],
                "entries": plain(change.entries),
            }
            click.echo(json.dumps(facts, indent=2))
        else:
            click.echo(f"{', '.join(kind for kind, _ in change.events) or 'known'}: {words}")

    def show(self, value: Any, lines: list[str]) -> None:
        """Print a value for programs, or lines for people."""
        click.echo(json.dumps(value, indent=2) if self.as_json else "\n".join(lines))


def require_yes(question: str) -> None:
    """Ask a person; a no ends the command with exit code 1 and says that nothing came of it."""
    if not click.confirm(question, err=True):
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(1)


def _in_words(entries: tuple[Entry, ...]) -> Iterator[str]:
    """Each entry with its amounts, which the question is about."""
    from fedjoint.pool.money import format_minor

    for entry in entries:
        what = {"pending": "hold", "voided": "release", "posted": "post"}[entry.phase]
        yield f"{what} {entry.id}"
        for posting in entry.postings:
            yield f"  {posting.account:32} {format_minor(posting.amount_minor, entry.currency):>24}"


def _sums(entries: tuple[Entry, ...]) -> str:
    """How many entries there are, and what they move in each currency."""
    from fedjoint.pool.money import format_minor

    moved: dict[str, int] = {}
    for entry in entries:
        amounts = (max(posting.amount_minor, 0) for posting in entry.postings)
        moved[entry.currency] = moved.get(entry.currency, 0) + sum(amounts)
    count = f"{len(entries)} entries" if len(entries) > 1 else "1 entry"
    told = [format_minor(amount, currency) for currency, amount in moved.items() if amount]
    return f"{count} of {' and '.join(told)}" if told else count


def pool_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the pool is; it gets a :class:`Session` first."""

    @click.option("--pool", "folder", type=click.Path(path_type=Path), default=Path("pool"), help="The pool's folder.")
    @click.option("--database-url", "url", help="A database elsewhere, such as postgresql://user@host/pool.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(function)
    def command(*, folder: Path, url: str | None, as_json: bool, **more: Any) -> Any:
        flags = {name: more.pop(name) for name in ("dry_run", "yes") if name in more}
        return function(Session(folder=folder, url=url, as_json=as_json, **flags), **more)

    return command


#: The exchange's key, for what it signs.
key_option = click.option("--key", type=click.Path(path_type=Path), required=True, help="The exchange's key file.")


def moves_money(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--dry-run`` and ``--yes``, above :func:`pool_command`."""
    function = click.option("--dry-run", is_flag=True, help="Show what would be posted, and change nothing.")(function)
    return click.option("--yes", is_flag=True, help="Post without asking, for scripts.")(function)


def parse_json_file(path: Path) -> Any:
    """Read a JSON file that a person wrote.

    Raises:
        ConfigError: no such file, or no JSON.
    """
    from fedjoint.errors import ConfigError

    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path} cannot be read: {problem}", expected="a JSON file") from None
