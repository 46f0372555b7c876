"""Two releases that speak no common version of a protocol say so, instead of misunderstanding each other."""

from __future__ import annotations

from fedjoint import __version__
from fedjoint.errors import TransportError

__all__ = ["SOFTWARE", "VersionRefused", "common_version"]

#: What this side says it is.
SOFTWARE = f"fedjoint {__version__}"
_MOST_LETTERS = 60


class VersionRefused(TransportError):
    """The other side speaks other versions of the protocol."""

    code = "transport.version"


def common_version(oldest: int, newest: int, *, software: str, spoken: tuple[int, int], what: str) -> int:
    """The newest version that both sides speak.

    Args:
        oldest: That the other side speaks.
        newest: That the other side speaks.
        software: What the other side says it is.
        spoken: Oldest and newest that this side speaks.
        what: The protocol, for the message.

    Raises:
        VersionRefused: there is none.

    Example:
        >>> common_version(1, 3, software="", spoken=(2, 4), what="link")
        3
    """
    if not (oldest <= spoken[1] and newest >= spoken[0]):
        raise VersionRefused(
            f"the node speaks versions {oldest} to {newest} of the {what} ({software[:_MOST_LETTERS]})",
            expected=f"{spoken[0]} to {spoken[1]} ({SOFTWARE})",
            remedy="Install the same release of fedjoint on both sides.",
        )
    return min(newest, spoken[1])
