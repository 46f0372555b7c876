"""What an exchange's operators do: on its own machine, or from elsewhere by a certificate and with less freedom."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.config import SimulationConfig, load_config
from fedjoint.data.records import Table
from fedjoint.data.sources import parse_csv
from fedjoint.errors import ConfigError, DataError
from fedjoint.exchange.certification import Now, timestamp
from fedjoint.exchange.claims import ClaimDesk
from fedjoint.exchange.gate import gate_of
from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.proposing import Wanted, propose
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.exchange.status import status_of
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.transport.services.protocol import MAX_REFERENCE_BYTES

__all__ = ["Office", "remote_config", "remote_reference", "require_carried"]

_REMOTE_KEY = re.compile(
    r"(title|purpose|seed|data\.standardise|(model|training|privacy|encryption|valuation|money)(\.[a-z0-9_]+)*)"
)
_MAX_OVERRIDES, _MAX_OVERRIDE_LETTERS = 200, 1_000
#: Hydra composes in a place that is one for the whole process.
_composing = threading.Lock()


class Office:
    """Proposes agreements and says how the exchange stands.

    Args:
        home: The exchange's folder.
        settings: How it runs.
        store: Its database.
        claims: Where claims are decided; None: it keeps no pool, or claims are not asked for.
        now: The present.
    """

    def __init__(
        self,
        home: ExchangeHome,
        settings: ExchangeSettings,
        store: ExchangeStore,
        *,
        claims: ClaimDesk | None,
        now: Now,
    ) -> None:
        self._home, self._settings, self._store = home, settings, store
        self._claims, self._now = claims, now

    def propose(self, config: SimulationConfig, wanted: Wanted) -> SignedAgreement:
        """Write an agreement; see :func:`fedjoint.exchange.proposing.propose`."""
        gate, at = gate_of(self._home, self._settings), timestamp(self._now())
        return propose(self._home, self._store, config=config, wanted=wanted, gate=gate, at=at)

    def status(self) -> dict[str, Any]:
        """How the exchange stands; see :func:`fedjoint.exchange.status.status_of`."""
        return status_of(self._home, self._store, () if self._claims is None else self._claims.claims(None))


def remote_config(overrides: Sequence[str]) -> SimulationConfig:
    """The configuration of a proposal that came over the network.

    Args:
        overrides: ``KEY=VALUE``, at most 200 of at most 1,000 letters.

    Raises:
        ConfigError: as for :func:`fedjoint.config.load_config`; or one names a file of this machine or its environment.

    Guarantees:
        No file and no environment variable of this machine is read because of what the network asked for.
    """
    if len(overrides) > _MAX_OVERRIDES:
        raise ConfigError(f"{len(overrides)} overrides", expected=f"at most {_MAX_OVERRIDES}")
    for text in overrides:
        key = text.partition("=")[0]
        if len(text) > _MAX_OVERRIDE_LETTERS or "$" in text or not _REMOTE_KEY.fullmatch(key):
            raise _not_from_afar(text)
    with _composing:
        config = load_config(overrides)
    if config.model.code is not None:  # however it was spelt
        raise _not_from_afar(f"model.code={config.model.code}")
    return config


def remote_reference(content: bytes) -> Table:
    """The exchange's own records, as they came over the network.

    Raises:
        DataError: they are more than a message may carry, or no CSV.
    """
    require_carried(len(content))
    return parse_csv(content, "reference")


def require_carried(size: int) -> None:
    """Refuse reference records of more bytes than a message may carry.

    Raises:
        DataError: they are.
    """
    if size > MAX_REFERENCE_BYTES:
        raise DataError(
            f"a reference table of {size} bytes as CSV",
            expected=f"at most {MAX_REFERENCE_BYTES} over the network",
            remedy="Send fewer records, or propose on the exchange's machine (--home).",
        )


def _not_from_afar(text: str) -> ConfigError:
    return ConfigError(
        f"'{text[:100]}' is not taken over the network: it could read what is on the exchange's machine",
        expected="title, purpose, seed, data.standardise, or a key of model (but code), training, privacy, "
        f"encryption, valuation or money, without '$', in {_MAX_OVERRIDE_LETTERS} letters",
        remedy="Leave it out, or propose on the exchange's machine (--home).",
    )
