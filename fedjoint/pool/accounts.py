"""Names of the pool's accounts: a kind, and for some kinds the party it belongs to.

A posting's amount is what flows *into* the account. So the accounts where money waits (escrow, fee, reserve,
suspense, a holder's payable) stand at what they hold; a buyer's receivable, where money comes from, stands at minus
what the buyer brought, and the bank, where it leaves, at what was paid out. All balances of a currency sum to zero.
"""

from __future__ import annotations

import re

from fedjoint.errors import PoolError

__all__ = ["BANK", "ESCROW", "FEE", "RESERVE", "SUSPENSE", "check_account", "payable", "receivable"]

#: Paid out to the world.
BANK = "bank"
#: Received and not divided yet: zero after every settlement.
ESCROW = "escrow"
#: Earned by the exchange.
FEE = "fee"
#: The holders' mutual reserve against claims.
RESERVE = "reserve"
#: Kept until somebody decides whose it is.
SUSPENSE = "suspense"

_SHARED = (BANK, ESCROW, FEE, RESERVE, SUSPENSE)
_OF_A_PARTY = ("payable", "receivable")
#: The same ids as :class:`fedjoint.identity.keys.PublicIdentity` allows.
_PARTY = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_account(name: str) -> str:
    """Refuse a name that is no account.

    Returns:
        The name.

    Raises:
        PoolError: an unknown kind, a party where none belongs, or a malformed party id.

    Example:
        >>> check_account("payable:cleveland")
        'payable:cleveland'
    """
    kind, colon, party = name.partition(":")
    if name in _SHARED or (kind in _OF_A_PARTY and colon and _PARTY.fullmatch(party)):
        return name
    expected = ", ".join((*_SHARED, *(f"{kind}:<party id>" for kind in _OF_A_PARTY)))
    raise PoolError(f"'{name[:80]}' is no account", expected=f"one of: {expected}")


def payable(holder: str) -> str:
    """The account of what is owed to a holder; negative if the holder owes.

    Raises:
        PoolError: the id is malformed.
    """
    return check_account(f"payable:{holder}")


def receivable(buyer: str) -> str:
    """The account of a buyer's money; minus what it brought.

    Raises:
        PoolError: the id is malformed.
    """
    return check_account(f"receivable:{buyer}")
