"""What an exchange hands an operator: the key and certificate with which its staff call it from elsewhere.

Whoever has the file may propose agreements in the exchange's name and see how it stands, until it expires or is
revoked: it is a secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedjoint.files import write_new_secret
from fedjoint.identity.invitation import read_handed_over
from fedjoint.strict import plain, strict

__all__ = ["OperatorFile", "read_operator_file", "write_operator_file"]


@strict
@dataclass(frozen=True, kw_only=True)
class OperatorFile:
    """How an operator calls an exchange.

    Args:
        operator: Its id.
        exchange: ``host:port`` as the exchange knows itself.
        expires_at: ISO 8601 with its offset.
        key: TLS key (PEM) of the certificate, made for this file; the exchange keeps no copy.
        certificate: Of role ``operator`` (PEM).
        authority: The exchange's authority (PEM).
    """

    format: Literal["fedjoint-operator-1"] = "fedjoint-operator-1"
    operator: str
    exchange: str
    expires_at: str
    key: str
    certificate: str
    authority: str

    def __repr__(self) -> str:
        return f"OperatorFile(operator={self.operator!r}, exchange={self.exchange!r}, secrets hidden)"


def write_operator_file(found: OperatorFile, path: Path) -> None:
    """Write it to a new file of mode 0600.

    Raises:
        IdentityError: the file exists already, or its folder does not.
    """
    write_new_secret(path, json.dumps(plain(found), indent=2).encode())


def read_operator_file(path: Path) -> OperatorFile:
    """Read one.

    Raises:
        IdentityError: the file is missing, readable by others, too large, or no operator's.
    """
    return read_handed_over(path, OperatorFile, what="operator's file")
