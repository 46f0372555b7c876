"""A simulation of a pool's agreement asks the pool's registry before anything is spent, as an exchange does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from fedjoint.config import SimulationConfig
from fedjoint.errors import ConfigError
from fedjoint.pool.engine_store_sql import POOL_FILE
from fedjoint.pool.gate import require_datasets_allowed
from fedjoint.pool.record_store_sql import PoolStore

__all__ = ["require_registered"]


def require_registered(config: SimulationConfig, holders: Sequence[str], *, day: date) -> None:
    """Refuse a run that the configured pool's registry does not allow; without a pool nothing is asked.

    Keys are not compared: a simulation makes them up.

    Args:
        config: Names the pool, the holders' datasets and the purpose.
        holders: Ids of all holders.
        day: Of the run.

    Raises:
        ConfigError: a dataset for a holder that there is not, or no such pool.
        PoolError: as :func:`fedjoint.pool.gate.require_datasets_allowed`.
    """
    url, datasets = config.run.registry, config.run.datasets or {}
    if url is None:
        return
    strangers = sorted(set(datasets) - set(holders))
    if strangers:
        raise ConfigError(f"run.datasets names '{strangers[0]}'", expected=", ".join(holders))
    if "://" not in url:
        path = Path(url).expanduser() / POOL_FILE
        if not path.is_file():
            raise ConfigError(f"run.registry = {url}: there is no pool", remedy="Open it first: fedjoint pool open.")
        url = f"sqlite:///{path.resolve()}"
    with PoolStore.open(url) as store:
        brought = {holder: datasets.get(holder) for holder in holders}
        require_datasets_allowed(store.state().registry, brought, purpose=config.purpose, day=day)
