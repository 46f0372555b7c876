"""What the commands of an exchange share: which folder, and its open database."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fedjoint.exchange.home import ExchangeHome
    from fedjoint.exchange.settings import ExchangeSettings
    from fedjoint.exchange.store_sql import ExchangeStore
    from fedjoint.pool.record_store_sql import PoolStore

__all__ = ["ExchangeSession", "at", "exchange_command", "home_option", "now"]


def now() -> datetime:
    """The present."""
    return datetime.now(UTC)


def at() -> str:
    """The present, ISO 8601 in UTC."""
    from fedjoint.exchange.certification import timestamp

    return timestamp(now())


@dataclass(frozen=True, kw_only=True)
class ExchangeSession:
    """How a command was called.

    Args:
        home: The exchange's folder.
        settings: How it runs.
    """

    home: ExchangeHome
    settings: ExchangeSettings

    @classmethod
    def of(cls, folder: Path) -> ExchangeSession:
        """Open an exchange's folder.

        Raises:
            ConfigError: it is none, or its settings cannot be read.
        """
        from fedjoint.exchange.home import open_home
        from fedjoint.exchange.settings import load_settings

        home = open_home(folder)
        return cls(home=home, settings=load_settings(home.settings_file, os.environ))

    @contextmanager
    def store(self) -> Iterator[ExchangeStore]:
        """The exchange's database."""
        from fedjoint.exchange.store_sql import ExchangeStore

        with ExchangeStore.open(self.home.database_url(self.settings)) as store:
            yield store

    @contextmanager
    def pool(self) -> Iterator[PoolStore | None]:
        """The pool that the exchange keeps; None: it keeps none."""
        from fedjoint.exchange.pool import open_pool

        found = open_pool(self.home, self.settings)
        try:
            yield found
        finally:
            if found is not None:
                found.close()


home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="FEDJOINT_EXCHANGE_HOME",
    default=Path(),
    metavar="FOLDER",
    help="The exchange's folder; FEDJOINT_EXCHANGE_HOME, or else the current one.",
)


def exchange_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--home``, and its session as the first argument."""

    @home_option
    @functools.wraps(function)
    def call(home: Path, **arguments: Any) -> Any:
        return function(ExchangeSession.of(home), **arguments)

    return call
