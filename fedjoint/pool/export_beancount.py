"""The books in beancount's format, so that another program can add them up (bean-check)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fedjoint.pool.accounts import may_be_negative
from fedjoint.pool.books import Key
from fedjoint.pool.ledger import Entry
from fedjoint.pool.money import minor_digits

__all__ = ["beancount_account", "beancount_lines"]

#: Before any ledger; beancount orders by day, so that accounts may be opened wherever they first appear.
_OPENED = "1970-01-01"


def beancount_lines(entries: Iterable[Entry], balances: Mapping[Key, int], *, day: str) -> Iterator[str]:
    """Lines of a beancount file: what was posted, and assertions of what every account stands at.

    Pending and voided entries move nothing and are told as comments.

    Args:
        entries: In the order they were posted; they are not kept.
        balances: What is posted to each account, in minor units by (currency, account).
        day: After the last entry, such as ``2027-01-01``, when the balances are asserted.

    Example:
        >>> from fedjoint.pool.ledger import move
        >>> paid = Entry(id="a", at="2026-11-30T12:00:00Z", kind="invoice", currency="CNY",
        ...              postings=move({"receivable:b_1": -5, "escrow": 5}))
        >>> print("".join(beancount_lines([paid], {("CNY", "escrow"): 5}, day="2026-12-01")))
        1970-01-01 open Equity:Receivable:Xb-11
        1970-01-01 open Assets:Escrow
        2026-11-30 * "invoice" ""
          id: "a"
          Equity:Receivable:Xb-11  -0.05 CNY
          Assets:Escrow  0.05 CNY
        2026-12-01 balance Assets:Escrow  0.05 CNY
        <BLANKLINE>
    """
    opened: set[str] = set()
    for entry in entries:
        if entry.phase != "posted":
            yield f"; {entry.phase}: {entry.id}\n"
            continue
        names = {posting.account: beancount_account(posting.account) for posting in entry.postings}
        for name in names.values():
            if name not in opened:
                opened.add(name)
                yield f"{_OPENED} open {name}\n"
        yield f'{entry.at[:10]} * "{entry.kind}" "{_quoted(entry.memo)}"\n  id: "{entry.id}"\n'
        for posting in entry.postings:
            yield f"  {names[posting.account]}  {_amount(posting.amount_minor, entry.currency)}\n"
    for (currency, account), amount in balances.items():
        name = beancount_account(account)
        if name in opened:
            yield f"{day} balance {name}  {_amount(amount, currency)}\n"


def beancount_account(account: str) -> str:
    """An account's name in beancount: ``Assets`` hold money, ``Equity`` stands for the world outside.

    No two accounts get the same name: beancount allows fewer characters, so ``-`` and ``_`` become ``-0`` and ``-1``.
    """
    kind, _, party = account.partition(":")
    root = "Equity" if may_be_negative(account) else "Assets"
    party = party.replace("-", "-0").replace("_", "-1")
    return f"{root}:{kind.capitalize()}" + (f":X{party}" if party else "")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _amount(amount_minor: int, currency: str) -> str:
    digits = minor_digits(currency)
    whole, rest = divmod(abs(amount_minor), 10**digits)
    return f"{'-' if amount_minor < 0 else ''}{whole}{f'.{rest:0{digits}d}' if digits else ''} {currency}"
