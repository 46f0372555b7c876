"""A simulation of a pool's agreement asks the pool's registry before anything is spent, as an exchange does."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from fedjoint.agreement.terms import Terms
from fedjoint.config import RunConfig
from fedjoint.errors import ConfigError
from fedjoint.pool.gate import require_run_allowed
from fedjoint.pool.record_store_sql import PoolStore

__all__ = ["require_registered"]


def require_registered(config: RunConfig, terms: Terms, *, day: date) -> None:
    """Refuse a run that the configured pool's registry does not allow; without a pool nothing is asked.

    Keys are not compared: a simulation makes them up.

    Args:
        config: Names the pool.
        terms: Of the agreement, with a dataset for each holder.
        day: Of the run.

    Raises:
        ConfigError: a dataset for a holder that there is not, or no such pool.
        PoolError: as :func:`fedjoint.pool.gate.require_run_allowed`.
    """
    if config.pool is None:
        return
    strangers = sorted(set(config.datasets or {}) - set(terms.holder_ids))
    if strangers:
        raise ConfigError(f"run.datasets names '{strangers[0]}'", expected=", ".join(terms.holder_ids))
    url = config.pool
    if "://" not in url:
        path = Path(url).expanduser() / "pool.sqlite"
        if not path.is_file():
            raise ConfigError(f"run.pool = {url}: there is no pool", remedy="Open it first: fedjoint pool open.")
        url = f"sqlite:///{path.resolve()}"
    with PoolStore.open(url) as store:
        require_run_allowed(store.state().registry, terms, day=day)
