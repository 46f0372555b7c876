"""How a holder's node runs: its settings file, and the environment that may override it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedjoint.errors import ConfigError, InvalidValue
from fedjoint.settings_file import overrides_of, read_settings
from fedjoint.strict import build, strict

__all__ = ["PREFIX", "TEMPLATE", "NodeSettings", "load_settings"]

#: ``FEDJOINT_HOLDER_BEAT_S=5`` overrides ``beat_s``.
PREFIX = "FEDJOINT_HOLDER_"
_MAX_SETTINGS_BYTES = 64 << 10

TEMPLATE = """\
# How this holder's node runs. Every setting can be overridden by the environment: FEDJOINT_HOLDER_LOG_LEVEL=debug.
# What may be done with your records is not here but in policy.yaml.

# An HTTP proxy that connections go through (CONNECT), such as http://proxy.example:3128. Null: https_proxy, if set.
proxy: null
# The name in the exchange's certificate, where you reach it by another.
server_name: null
# A Unix socket through which tasks come from a Flower SuperNode on this machine instead of from the exchange, such as
# holder.sock in this folder (deploy/superlink/README.md); null: this node connects to the exchange for them.
door: null
# A certificate is renewed when less than this part of its life is left.
renew_at: 0.34
# Seconds of a broken connection before the next try, at most.
backoff_s: 30.0
# debug, info, warning or error. The log is JSON, one line an event, on standard error; it holds no value of a record.
log_level: info
"""


@strict
@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """A node's settings.

    Args:
        proxy: ``http://host:port``; None: what the environment says.
        server_name: Name in the exchange's certificate, where it differs from the one connected to.
        door: Socket for a SuperNode, relative to the holder's folder; None: tasks come from the exchange.
        renew_at: The part of a certificate's life that is left when it is renewed, in (0, 1).
        backoff_s: Longest wait before connecting again, 0.05 to 3600.
        log_level: From which level on events are logged.

    Raises:
        InvalidValue: a value out of range.
    """

    proxy: str | None = None
    server_name: str | None = None
    door: str | None = None
    renew_at: float = 0.34
    backoff_s: float = 30.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __post_init__(self) -> None:
        if not 0 < self.renew_at < 1:
            raise InvalidValue(f"renew_at = {self.renew_at}", expected="a number between 0 and 1")
        if not 0.05 <= self.backoff_s <= 3600:
            raise InvalidValue(f"backoff_s = {self.backoff_s}", expected="a number from 0.05 to 3600")


def load_settings(path: Path, environment: Mapping[str, str]) -> NodeSettings:
    """Read a node's settings.

    Args:
        path: The settings file.
        environment: Of the process; ``FEDJOINT_HOLDER_HOME`` names the folder and is no setting.

    Raises:
        ConfigError: the file or a variable has an unknown key, a wrong type or an impossible value.
    """
    value = read_settings(path, most_bytes=_MAX_SETTINGS_BYTES, error=ConfigError, what="settings file") or {}
    given = {name: text for name, text in environment.items() if name != f"{PREFIX}HOME"}
    overrides = overrides_of(NodeSettings, given, prefix=PREFIX, error=ConfigError)
    return build(NodeSettings, {**value, **overrides}, error=ConfigError, where="settings")
