"""A simulation of a pool's agreement asks the pool's registry before anything is spent, as an exchange does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from fedjoint.agreement.terms import Terms
from fedjoint.config import SimulationConfig
from fedjoint.errors import ConfigError
from fedjoint.pool.gate import Gate, read_registry, require_datasets_allowed, require_run_allowed

__all__ = ["gate_of", "require_registered"]


def require_registered(config: SimulationConfig, holders: Sequence[str], *, day: date) -> None:
    """Refuse a run that the configured pool's registry does not allow; without a pool nothing is asked.

    Args:
        config: Names the pool, the holders' datasets and the purpose.
        holders: Ids of all holders.
        day: Of the run.

    Raises:
        ConfigError: a dataset for a holder that there is not.
        PoolError: no such pool, or as :func:`fedjoint.pool.gate.require_datasets_allowed`.
    """
    place, datasets = config.run.registry, config.run.datasets or {}
    if place is None:
        return
    strangers = sorted(set(datasets) - set(holders))
    if strangers:
        raise ConfigError(f"run.datasets names '{strangers[0]}'", expected=", ".join(holders))
    brought = {holder: datasets.get(holder) for holder in holders}
    require_datasets_allowed(read_registry(place), brought, purpose=config.purpose, day=day)


def gate_of(config: SimulationConfig) -> Gate | None:
    """What asks the configured pool's registry, if there is one; keys are not compared: a simulation makes them up."""
    place = config.run.registry
    if place is None:
        return None
    found: str = place

    def ask(terms: Terms, day: date) -> None:
        require_run_allowed(read_registry(found), terms, day=day)

    return ask
