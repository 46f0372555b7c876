"""Payouts as files that a bank takes: CSV, and ISO 20022 customer credit transfer initiation (pain.001.001.09)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

from fedjoint.errors import PoolError
from fedjoint.pool.ledger import Entry
from fedjoint.pool.money import minor_digits
from fedjoint.pool.registered import Party, day_named

__all__ = ["Payment", "payments_of", "to_csv", "to_pain_001"]

_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
_ID_LENGTH, _NAME_LENGTH = 35, 140
_NOT_LATIN = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]")


@dataclass(frozen=True, kw_only=True)
class Payment:
    """One transfer to a party.

    Args:
        id: Of its ledger entry; the bank hands it on to the receiver.
        party: Party id.
        name: Of the receiver.
        iban: Its account.
        amount_minor: Minor units, above 0.
        currency: ISO 4217 code.
    """

    id: str
    party: str
    name: str
    iban: str
    amount_minor: int
    currency: str

    @property
    def amount(self) -> str:
        """The amount in major units, exactly."""
        digits = minor_digits(self.currency)
        whole, rest = divmod(self.amount_minor, 10**digits)
        return f"{whole}.{rest:0{digits}d}" if digits else str(whole)


def payments_of(entries: Iterable[Entry], batch: str, parties: Mapping[str, Party]) -> tuple[Payment, ...]:
    """The transfers of a payout batch, read from the books: what is paid is what was posted.

    Args:
        entries: Of the books.
        batch: As given to ``fedjoint pool payout``.
        parties: By id.

    Raises:
        PoolError: the batch paid nobody, or a party has no IBAN.
    """
    prefix = f"payout/{batch}/"
    found = []
    for entry in entries:
        if entry.kind != "payout" or not entry.id.startswith(prefix):
            continue
        party = parties[entry.id.removeprefix(prefix)]
        if party.iban is None:
            raise PoolError(f"'{party.identity.id}' has no IBAN", remedy="Register it with the account it is paid to.")
        amount = sum(posting.amount_minor for posting in entry.postings if posting.account == "bank")
        found.append(
            Payment(
                id=entry.id,
                party=party.identity.id,
                name=party.identity.name,
                iban=party.iban,
                amount_minor=amount,
                currency=entry.currency,
            )
        )
    if not found:
        raise PoolError(f"payout '{batch}' paid nobody", remedy="Name a batch that was paid out.")
    return tuple(found)


def to_csv(payments: Iterable[Payment]) -> str:
    """A line for each payment, RFC 4180.

    A cell that a spreadsheet would take for a formula is written with an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["id", "party", "name", "iban", "amount", "currency"])
    for one in payments:
        name = f"'{one.name}" if one.name[:1] in ("=", "+", "-", "@", "\t", "\r") else one.name
        writer.writerow([one.id, one.party, name, one.iban, one.amount, one.currency])
    return out.getvalue()


def to_pain_001(payments: tuple[Payment, ...], *, message_id: str, debtor: Party, at: str, day: str) -> bytes:
    """One message with one batch of credit transfers.

    Args:
        payments: At least one, all in one currency.
        message_id: 1 to 35 characters, which no other message has.
        debtor: Who pays: the exchange.
        at: When the message is made, ISO 8601.
        day: When it is to be executed, ``YYYY-MM-DD``.

    Returns:
        UTF-8 XML.

    Raises:
        PoolError: no payment, several currencies, or a debtor without IBAN.

    Source:
        ISO 20022 message definition pain.001.001.09.
    """
    currencies = {one.currency for one in payments}
    if len(currencies) != 1 or debtor.iban is None:
        raise PoolError(
            f"{len(payments)} payments in {len(currencies)} currencies from IBAN {debtor.iban}",
            expected="payments in one currency, and a debtor with an IBAN",
        )
    day_named("day", day)
    whole = Payment(
        id="", party="", name="", iban="", amount_minor=sum(p.amount_minor for p in payments), currency=currencies.pop()
    )
    document = Xml.Element("Document", xmlns=_NAMESPACE)
    root = Xml.SubElement(document, "CstmrCdtTrfInitn")
    totals = {"NbOfTxs": str(len(payments)), "CtrlSum": whole.amount}
    header = _add(root, "GrpHdr", MsgId=_text(message_id, _ID_LENGTH), CreDtTm=at, **totals)
    _add(header, "InitgPty", Nm=_text(debtor.identity.name, _NAME_LENGTH))
    batch = _add(root, "PmtInf", PmtInfId=_text(message_id, _ID_LENGTH), PmtMtd="TRF", **totals)
    _add(batch, "ReqdExctnDt", Dt=day)
    _add(batch, "Dbtr", Nm=_text(debtor.identity.name, _NAME_LENGTH))
    _add(_add(batch, "DbtrAcct"), "Id", IBAN=debtor.iban)
    _add(_add(_add(batch, "DbtrAgt"), "FinInstnId"), "Othr", Id="NOTPROVIDED")
    for number, one in enumerate(payments, start=1):
        _add_transfer(batch, one, end_to_end=f"{_text(message_id, 28)}-{number}")
    data: bytes = Xml.tostring(document, encoding="utf-8", xml_declaration=True)
    return data


def _add_transfer(batch: Xml.Element, payment: Payment, *, end_to_end: str) -> None:
    transfer = _add(batch, "CdtTrfTxInf")
    _add(transfer, "PmtId", EndToEndId=end_to_end)
    amount = Xml.SubElement(_add(transfer, "Amt"), "InstdAmt", Ccy=payment.currency)
    amount.text = payment.amount
    _add(transfer, "Cdtr", Nm=_text(payment.name, _NAME_LENGTH))
    _add(_add(transfer, "CdtrAcct"), "Id", IBAN=payment.iban)
    _add(transfer, "RmtInf", Ustrd=_text(payment.id, _NAME_LENGTH))


def _add(parent: Xml.Element, tag: str, **children: str) -> Xml.Element:
    """An element with simple children, in order."""
    element = Xml.SubElement(parent, tag)
    for name, text in children.items():
        Xml.SubElement(element, name).text = text
    return element


def _text(text: str, longest: int) -> str:
    """Text in the letters that every bank takes."""
    return _NOT_LATIN.sub(".", text)[:longest] or "."
