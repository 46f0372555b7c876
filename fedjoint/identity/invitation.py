"""What an exchange hands a party, by a way of its own, to let it in: a token that is good once, and how to get through.

Whoever has the file may enrol as that party until it is used or expires: it is a secret, and travels as one.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from fedjoint.errors import IdentityError
from fedjoint.files import read_secret, write_new_secret
from fedjoint.strict import build, plain, strict

__all__ = ["ENROL", "MAX_INVITATION_BYTES", "Invitation", "read_handed_over", "read_invitation", "write_invitation"]

_Record = TypeVar("_Record")
MAX_INVITATION_BYTES = 64 << 10
_LEAST_TOKEN_LETTERS = 32
#: What a party signs its request for a certificate for.
ENROL = "enrol"


@strict
@dataclass(frozen=True, kw_only=True)
class Invitation:
    """An invitation of one party to one exchange.

    Args:
        party: Id under which the party is expected.
        exchange: ``host:port`` as the exchange knows itself; the party may reach it by another.
        exchange_name: For people.
        expires_at: ISO 8601 with its offset.
        token: At least 32 random letters; the exchange keeps its hash only.
        key: TLS key (PEM) of the bootstrap certificate, made for this invitation and good for enrolment alone.
        certificate: The bootstrap certificate (PEM), of role ``invited``.
        authority: The exchange's authority (PEM): the only one that the party's node will ever trust.

    Raises:
        IdentityError: the token is too short, or the time of expiry is none.
    """

    format: Literal["fedjoint-invitation-1"] = "fedjoint-invitation-1"
    party: str
    exchange: str
    exchange_name: str
    expires_at: str
    token: str
    key: str
    certificate: str
    authority: str

    def __post_init__(self) -> None:
        if len(self.token) < _LEAST_TOKEN_LETTERS:
            raise IdentityError("an invitation's token is too short", expected=f"{_LEAST_TOKEN_LETTERS} letters")
        try:
            offset = datetime.fromisoformat(self.expires_at).utcoffset()
        except ValueError:
            offset = None
        if offset is None:
            raise IdentityError(
                f"an invitation expires at '{self.expires_at[:40]}'", expected="ISO 8601 with an offset"
            )

    def __repr__(self) -> str:
        return f"Invitation(party={self.party!r}, exchange={self.exchange!r}, secrets hidden)"


def write_invitation(invitation: Invitation, path: Path) -> None:
    """Write an invitation to a new file of mode 0600.

    Raises:
        IdentityError: the file exists already, or its folder does not.
    """
    write_new_secret(path, json.dumps(plain(invitation), indent=2).encode())


def read_invitation(path: Path) -> Invitation:
    """Read an invitation.

    Args:
        path: A file that only its owner can read, or ``-`` for standard input.

    Raises:
        IdentityError: the file is missing, readable by others, too large, or no invitation.
    """
    return read_handed_over(path, Invitation, what="invitation")


def read_handed_over(path: Path, kind: type[_Record], *, what: str) -> _Record:
    """Read a record that an exchange handed over as a file of JSON.

    Raises:
        IdentityError: as for :func:`read_invitation`.
    """
    if str(path) == "-":
        content = sys.stdin.read(MAX_INVITATION_BYTES).encode()
    else:
        content = read_secret(path, most_bytes=MAX_INVITATION_BYTES)
    try:
        return build(kind, json.loads(content), error=IdentityError, where=what)
    except (ValueError, RecursionError):
        raise IdentityError(f"{path} is no {what}", remedy="Ask the exchange for the file again.") from None
