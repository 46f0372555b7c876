"""How an exchange runs: its settings file, and the environment that may override it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedjoint.errors import ConfigError, InvalidValue
from fedjoint.settings_file import overrides_of, read_settings
from fedjoint.strict import build, strict

__all__ = ["PREFIX", "TEMPLATE", "ExchangeSettings", "load_settings"]

#: ``FEDJOINT_EXCHANGE_LOG_LEVEL=debug`` overrides ``log_level``.
PREFIX = "FEDJOINT_EXCHANGE_"
_NOT_SETTINGS = (f"{PREFIX}HOME", f"{PREFIX}DATABASE_URL")
_MAX_BYTES = 64 << 10

TEMPLATE = """\
# How this exchange runs. Every setting can be overridden by the environment: FEDJOINT_EXCHANGE_LOG_LEVEL=debug.

# What holders connect to; invitations name it, and the exchange's certificate is for its host.
address: {address}
# What is listened on: one port, for everything.
listen: {listen}
# Further names and addresses of this machine for its certificate (then run: fedjoint exchange renew).
hosts: []
# SQLAlchemy URL; null: exchange.sqlite in this folder. With a password, name a file by database_url_file instead.
database_url: {database_url}
database_url_file: null
# The compensation pool that this exchange keeps (fedjoint pool open): its folder, or a file of mode 0600 with the URL
# of its database. Its registry must allow every agreement and run, and holders file and decide claims against it over
# the network. Both null: none; then no claims are taken, and no agreement may name registered datasets.
pool: null
pool_url_file: null
# A Unix socket through which runs go to a stock Flower federation instead of to connected nodes, such as
# exchange.sock in this folder (deploy/superlink/README.md); null: nodes connect here.
door: null
# Days that certificates last, and hours that an invitation does.
certificate_days: 365
invitation_hours: 72
# Seconds that holders have for one task of a run; who is later is left out of that round and may come back.
task_timeout_s: 600.0
# Seconds that holders have to countersign a checkpoint of a run's record.
witness_timeout_s: 30.0
# A holder is heard at least so often; after so many times that without a sign its connection counts as broken.
beat_s: 10.0
beats_lost: 3
# A port on 127.0.0.1 for Prometheus; null: no metrics.
metrics_port: null
# debug, info, warning or error. The log is JSON, one line an event, on standard error; it holds no value of a record.
log_level: info
"""


@strict
@dataclass(frozen=True, kw_only=True)
class ExchangeSettings:
    """An exchange's settings; see :data:`TEMPLATE`.

    Raises:
        InvalidValue: a value out of range.
    """

    address: str
    listen: str
    hosts: tuple[str, ...] = ()
    database_url: str | None = None
    database_url_file: str | None = None
    pool: str | None = None
    pool_url_file: str | None = None
    door: str | None = None
    certificate_days: int = 365
    invitation_hours: float = 72.0
    task_timeout_s: float = 600.0
    witness_timeout_s: float = 30.0
    beat_s: float = 10.0
    beats_lost: int = 3
    metrics_port: int | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("certificate_days", 1, 3_650),
            ("invitation_hours", 0.001, 24 * 90),
            ("task_timeout_s", 0.1, 7 * 86_400),
            ("witness_timeout_s", 0.0, 3_600),
            ("metrics_port", 0, 65_535),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidValue(f"{name} = {value}", expected=f"a number from {low:g} to {high:g}")
        for name in ("address", "listen"):
            host, _, port = getattr(self, name).rpartition(":")
            if not host or not port.isdecimal() or int(port) > 65_535:
                raise InvalidValue(f"{name} = '{getattr(self, name)}'", expected="host:port")
        if self.database_url is not None and self.database_url_file is not None:
            raise InvalidValue("database_url and database_url_file are both given", remedy="Leave one of them null.")
        if self.pool is not None and self.pool_url_file is not None:
            raise InvalidValue("pool and pool_url_file are both given", remedy="Leave one of them null.")

    @property
    def certificate_hosts(self) -> tuple[str, ...]:
        """What the exchange's certificate is for."""
        return tuple(dict.fromkeys((self.address.rpartition(":")[0].strip("[]"), *self.hosts)))


def load_settings(path: Path, environment: Mapping[str, str]) -> ExchangeSettings:
    """Read an exchange's settings.

    Args:
        path: The settings file.
        environment: Of the process; ``FEDJOINT_EXCHANGE_HOME`` names the folder and is no setting, and
            ``FEDJOINT_EXCHANGE_DATABASE_URL`` may hold a password, which is why it overrides both database settings.

    Raises:
        ConfigError: the file or a variable has an unknown key, a wrong type or an impossible value.
    """
    value = read_settings(path, most_bytes=_MAX_BYTES, error=ConfigError, what="settings file") or {}
    given = {name: text for name, text in environment.items() if name not in _NOT_SETTINGS}
    overrides = overrides_of(ExchangeSettings, given, prefix=PREFIX, error=ConfigError)
    if url := environment.get(f"{PREFIX}DATABASE_URL"):
        overrides |= {"database_url": url, "database_url_file": None}
    return build(ExchangeSettings, {**value, **overrides}, error=ConfigError, where="settings")
