"""Names of the pool's accounts: a kind, and for some kinds the party (or the case) it belongs to.

A posting's amount is what flows *into* the account. So the accounts where money waits (escrow, fee, reserve,
suspense, a holder's payable) stand at what they hold; a buyer's receivable, where money comes from, stands at minus
what the buyer brought, and the bank, where it leaves, at what was paid out. All balances of a currency sum to zero.
"""

from __future__ import annotations

import re

from fedjoint.errors import PoolError

__all__ = [
    "BANK",
    "CLAIMS",
    "CONVERSION",
    "ESCROW",
    "FEE",
    "INSURER",
    "MAY_BE_NEGATIVE",
    "RESERVE",
    "ROUNDING",
    "SUSPENSE",
    "TAX",
    "TRANCHE",
    "check_account",
    "credit",
    "deferred",
    "holdback",
    "may_be_negative",
    "payable",
    "receivable",
    "voucher",
]

#: Paid out to the world.
BANK = "bank"
#: Reserved for claims that are decided on.
CLAIMS = "claims"
#: Between two currencies: what was given in one and taken in another.
CONVERSION = "conversion"
#: Received and not divided yet: zero after every settlement.
ESCROW = "escrow"
#: Earned by the exchange.
FEE = "fee"
#: An insurer outside the exchange; stands at minus what it paid.
INSURER = "insurer"
#: The holders' mutual reserve against claims.
RESERVE = "reserve"
#: Differences that no party is owed.
ROUNDING = "rounding"
#: Kept until somebody decides whose it is.
SUSPENSE = "suspense"
#: Owed to the tax office.
TAX = "tax"
#: The exchange's own tranche, which pays claims before the reserve does.
TRANCHE = "tranche"

_SHARED = (BANK, CLAIMS, CONVERSION, ESCROW, FEE, INSURER, RESERVE, ROUNDING, SUSPENSE, TAX, TRANCHE)
#: Of a party; a voucher's and a deferred revenue's is the id of the voucher or the subscription.
_OF_A_PARTY = ("credit", "deferred", "holdback", "payable", "receivable", "voucher")
#: Kinds that stand for somebody outside, or for what a party owes back; every other account holds money that is there.
MAY_BE_NEGATIVE = (BANK, CONVERSION, INSURER, ROUNDING, "payable", "receivable")
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


def may_be_negative(name: str) -> bool:
    """Whether an account may stand below zero; the database asks the same of every posting.

    Example:
        >>> may_be_negative("payable:cleveland"), may_be_negative("reserve")
        (True, False)
    """
    return name.partition(":")[0] in MAY_BE_NEGATIVE


def payable(holder: str) -> str:
    """The account of what is owed to a holder; negative if the holder owes.

    Raises:
        PoolError: the id is malformed.
    """
    return check_account(f"payable:{holder}")


def holdback(holder: str) -> str:
    """The account of what a holder earned and gets when the dispute window has ended.

    Raises:
        PoolError: the id is malformed.
    """
    return check_account(f"holdback:{holder}")


def receivable(buyer: str) -> str:
    """The account of a buyer's (or a subsidiser's) money; minus what it brought.

    Raises:
        PoolError: the id is malformed.
    """
    return check_account(f"receivable:{buyer}")


def credit(buyer: str) -> str:
    """The account of what credit notes gave back to a buyer and it may still spend.

    Raises:
        PoolError: the id is malformed.
    """
    return check_account(f"credit:{buyer}")


def deferred(subscription: str) -> str:
    """The account of a subscription's money that is paid and not earned yet.

    Raises:
        PoolError: the id is malformed.
    """
    return check_account(f"deferred:{subscription}")


def voucher(voucher_id: str) -> str:
    """The account of a subsidiser's money for compute costs.

    Raises:
        PoolError: the id is malformed.
    """
    return check_account(f"voucher:{voucher_id}")
