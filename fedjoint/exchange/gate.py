"""An exchange asks its pool's registry about data, purpose and keys before it proposes, queues and conducts a run."""

from __future__ import annotations

from datetime import date

from fedjoint.agreement.terms import Terms
from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.pool import require_pool
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.pool.gate import Gate, require_run_allowed

__all__ = ["gate_of"]


def gate_of(home: ExchangeHome, settings: ExchangeSettings) -> Gate | None:
    """What asks the registry of the exchange's pool, read anew each time; None if the exchange keeps no pool.

    Args:
        home: The exchange's folder.
        settings: Name the pool.

    Raises:
        IdentityError: the file that holds the pool's URL is missing or readable by others.

    Guarantees:
        Every party of what passes signs with the keys that it is registered with.
    """
    if home.pool_url(settings) is None:
        return None

    def ask(terms: Terms, day: date) -> None:
        with require_pool(home, settings) as pool:
            registry = pool.state().registry
        require_run_allowed(registry, terms, day=day, exchange=home.load_identity().public)

    return ask
