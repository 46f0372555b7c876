"""A year of a consortium: three hospitals, an insurer that pays, and somebody who owns what one of them brought.

Run: python examples/insurer_pool/story.py [FOLDER]. It tells what happens: a licence, a subscription and metered
queries, a refund, a title claim that is upheld, appealed against, paid and recovered, and the year's end. It leaves in
FOLDER the pool's database, its signed export, and each hospital's and each dataset's signed statement, as JSON and as
pages; its last lines say how `fedjoint verify` checks them with public keys alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.files import replace_file
from fedjoint.identity.keys import Identity
from fedjoint.pool import corrections, desk, receipts
from fedjoint.pool.claim import Filing
from fedjoint.pool.claim_step import SignedStep, Step, file_step, sign_step
from fedjoint.pool.exported import export_pool, verify_pool
from fedjoint.pool.facts import ClaimMoved, Deposited, Earned, GivenBack, Invoice, Opened, Queries, Received
from fedjoint.pool.money import format_minor
from fedjoint.pool.record_change import Change
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.registered import DataCertificate, Dataset, Party, Policy, Rights
from fedjoint.pool.revenue import Subscription
from fedjoint.pool.state import PoolState
from fedjoint.pool.statement_document import issue, state_of_dataset, state_of_holder, verify_document
from fedjoint.pool.statement_page import render_statement
from fedjoint.pool.statement_weasyprint import render_pdf
from fedjoint.strict import build, plain

HOLDERS = {"north": 1_200, "south": 800, "coast": 400}
CONTRIBUTIONS = {"north": 0.030, "south": 0.020, "coast": 0.010}
EXPERTS = ("ann", "ben", "cai", "dov", "eva", "fay")
ROLES = {**dict.fromkeys(HOLDERS, "holder"), "insurer": "buyer", "registry": "claimant"}
ROLES |= dict.fromkeys(EXPERTS, "expert")
#: What pays an upheld claim, in this order.
LAYERS = {
    "deductible_minor": "the registry's own deductible",
    "holdback_minor": "coast's holdback, frozen since the claim was filed",
    "premiums_minor": "what coast itself paid into the reserve",
    "tranche_minor": "the exchange's own tranche",
    "mutual_minor": "what the others paid into the reserve, capped",
    "insurer_minor": "an insurer outside",
    "unpaid_minor": "nobody: shown as unpaid",
}
FIRST_DAY = datetime(2026, 1, 5, 9, tzinfo=UTC)


def at(day: int) -> str:
    """A moment of the year, in days from its first Monday."""
    return (FIRST_DAY + timedelta(days=day)).isoformat().replace("+00:00", "Z")


def cny(amount: int) -> str:
    """An amount, for people."""
    return format_minor(amount, "CNY")


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


class Year:
    """The people, the pool, and what is told about it."""

    def __init__(self, folder: Path, say: Callable[[str], None], *, pdf: bool) -> None:
        self.folder, self.say, self.pdf = folder, say, pdf
        self.people = {name: Identity.create(name, name.title()) for name in ("exchange", *ROLES)}
        self.store = PoolStore.open(f"sqlite:///{folder / 'pool.sqlite'}")

    def state(self) -> PoolState:
        """What the record comes to."""
        return self.store.state()

    def act(self, decide: Callable[[PoolState, Any], Change]) -> Change:
        """Take a step in one transaction."""
        return self.store.act(lambda inside: decide(inside.state(), inside))

    def money(self, account: str) -> str:
        """What an account stands at, for people."""
        return cny(self.store.ledger.balance(account, "CNY").posted_minor)

    def payable(self) -> str:
        """What each hospital is owed."""
        return ", ".join(f"{holder} {self.money(f'payable:{holder}')}" for holder in HOLDERS)

    def begin(self) -> None:
        """Open the pool, register everybody and their data."""
        opened = Opened(
            pool_id="chest-2026",
            exchange=self.people["exchange"].public,
            money=MoneyTerms(reserve_target_bp=2_000),
            claims=ClaimTerms(),
            tranche_minor=2_000_000,
        )
        self.act(lambda state, _: desk.open_pool(state, opened, at=at(0)))
        for name, role in ROLES.items():
            party = self.party(name, role)
            self.act(lambda state, _, party=party: desk.add_party(state, party, at=at(0)))  # type: ignore[misc]
        for name, size in HOLDERS.items():
            data = self.dataset(name, size)
            self.act(lambda state, _, data=data: desk.add_dataset(state, data, at=at(1)))  # type: ignore[misc]
        self.say("January. Three hospitals register chest scans; an insurer will pay for the model trained on them.")

    def party(self, name: str, role: str) -> Party:
        """A registered party."""
        return Party(
            identity=self.people[name].public,
            legal_id=f"CN/{digest(name)[:10]}",
            certificate_sha256=digest(f"certificate of {name}"),
            role=role,  # type: ignore[arg-type]
            valid_from="2026-01-01",
            valid_until="2027-12-31",
        )

    def dataset(self, holder: str, size: int) -> Dataset:
        """What a hospital brings."""
        return Dataset(
            id=f"scans-{holder}",
            holder=holder,
            title=f"Chest scans of {holder}",
            description="CT scans with findings, 2019 to 2025",
            schema_sha256=digest("schema"),
            quality_report_sha256=digest(f"quality of {holder}"),
            num_records=size,
            source_proofs=(digest(f"contracts of {holder}"),),
            certificate=DataCertificate(
                number=f"DIP-2026-{holder}",
                registrar="Data Exchange",
                announced="2026-01-05",
                valid_until="2027-06-30",
                agreement_until="2027-06-30",
            ),
            rights=Rights(holding=holder, processing=holder, operation=holder),
            policy=Policy(purposes=("underwriting research",), not_before="2026-01-05", not_after="2026-12-31"),
            deidentification="names, dates and faces removed",
        )

    def licence(self, amount: int, day: int) -> None:
        """The insurer buys a licence, once."""
        self.received(day, invoices=(Invoice(id="licence-2026", buyer="insurer", amount_minor=amount),))
        self.say(f"Day {day}. The insurer pays {cny(amount)} for a licence.")

    def subscription(self, amount: int, months: int, day: int) -> None:
        """The insurer subscribes; month by month the money is earned."""
        found = Subscription(id="sub-2026", buyer="insurer", currency="CNY", amount_minor=amount, num_periods=months)
        self.act(lambda state, books: receipts.subscribe(state, found, books=books, at=at(day - 30 * months)))
        for month in range(1, months + 1):
            earned, when = Earned(subscription=found.id, period=month), at(day - 30 * (months - month))
            self.act(lambda state, books, e=earned, w=when: receipts.earn(state, e, books=books, at=w))  # type: ignore[misc]
        self.say(f"Day {day}. A subscription of {months} months, paid in advance, is earned: {cny(amount)}.")

    def queries(self, count: int, price: int, day: int) -> None:
        """The insurer asks the model, and pays by the thousand."""
        asked = Queries(meter="api", buyer="insurer", price_per_1000_minor=price, first=0, count=count)
        self.received(day, queries=(asked,))
        self.say(f"Day {day}. The insurer asked the model {count:,} times, at {cny(price)} a thousand.")

    def received(self, day: int, **revenues: Any) -> None:
        """Take revenue in."""
        received = Received(currency="CNY", **revenues)
        self.act(lambda state, books: receipts.receive(state, received, books=books, at=at(day)))

    def settle(self, number: int, day: int, holders: tuple[str, ...] = tuple(HOLDERS)) -> None:
        """What came in is divided, to the last fen."""
        settling = desk.Settling(
            id=f"settlement-{number}",
            gross_minor=self.store.ledger.balance("escrow", "CNY").posted_minor,
            contributions={holder: CONTRIBUTIONS[holder] for holder in holders},
            datasets={holder: f"scans-{holder}" for holder in holders},
            errors=dict.fromkeys(holders, 0.002),
            method="Aumann-Shapley value on ciphertexts, summed over rounds",
        )
        self.act(lambda state, books: desk.settle_revenue(state, settling, books=books, at=at(day))[0])
        done = self.state().settled(settling.id)
        for step in done.steps:
            if step.amount_minor:
                self.say(f"    {step.name:32} {cny(step.amount_minor):>18}")
        for holder, amount in sorted(done.payouts_minor.items()):
            if not amount:
                continue
            held = f"of which {cny(done.held_minor[holder])} are held back for 90 days"
            self.say(f"      {holder:30} {cny(amount):>18}  {held}")

    def deposit(self, number: str, party: str, amount: int, day: int) -> None:
        """Somebody pays in."""
        paid = Deposited(id=number, party=party, amount_minor=amount, currency="CNY")
        self.act(lambda state, books: receipts.deposit(state, paid, books=books, at=at(day)))

    def refund(self, settlement: str, amount: int, day: int) -> None:
        """The insurer gets a part of what it paid back, from everybody who got it."""
        given = GivenBack(settlement=settlement, buyer="insurer", amount_minor=amount, before_minor=0, how="refund")
        self.act(lambda state, books: corrections.give_back(state, given, books=books, at=at(day)))
        self.say(
            f"Day {day}. The insurer used less than it paid for: {cny(amount)} are refunded, "
            f"by everybody who got of it. Payable now: {self.payable()}."
        )

    def step(self, verb: str, day: int, *signers: str, **body: Any) -> ClaimMoved:
        """Take the claim's next step, signed by its signers, and say what its money came to."""
        claims = self.state().claims
        if verb == "file":
            step = file_step(Filing(**body), at(day))
        else:
            step = Step(claim="title-1", verb=verb, at=at(day), after=claims["title-1"].head, body=body)  # type: ignore[arg-type]
        signed = SignedStep(step=step, signatures={name: sign_step(step, self.people[name]) for name in signers})
        change = self.act(lambda state, books: desk.move_claim(state, signed, books=books)[0])
        return build(ClaimMoved, plain(change.events[0][1]), error=PoolError)

    def claim(self) -> None:
        """Coast's scans belong to a registry: the claim, the appeal, and the payment."""
        amount = 3_000_000
        self.step(
            "file",
            120,
            "registry",
            id="title-1",
            kind="title failure",
            claimant="registry",
            respondent="coast",
            currency="CNY",
            amount_minor=amount,
            statement="coast's scans are copies of the registry's",
            evidence=(digest("contract of 2018"),),
            dataset="scans-coast",
            share_bp=10_000,
            settlements=("settlement-1", "settlement-2"),
        )
        held = self.state().claims["title-1"].held
        self.say(
            f"Day 120. The registry claims {cny(amount)} of coast: the scans are its own. "
            f"{cny(held.frozen_minor)} of coast's money and "
            f"{cny(held.reserve_minor)} of the reserve are held; everything else is paid as before."
        )
        self.step("admit", 122, "exchange")
        self.step("evidence", 125, "coast", sha256=[digest("invoice")])
        self.step("convene", 130, "exchange", panel=["ann", "ben", "cai"])
        upheld = {"upheld": True, "amount_minor": amount, "reasons": "the contract of 2018 gives them to the registry"}
        self.step("decide", 140, "ann", "cai", **upheld)
        self.step("serve", 141, "exchange")
        self.step("appeal", 150, "coast", reasons="the contract was terminated")
        self.step("hear", 155, "exchange", panel=["dov", "eva", "fay"])
        self.step("decide_final", 170, "dov", "eva", **(upheld | {"amount_minor": amount * 4 // 5}))
        self.say("Day 170. The panel upholds the claim; coast appeals; three others uphold four fifths of it.")
        layers = self.step("conclude", 171, "exchange").cover or {}
        self.step("pay", 172, "exchange")
        claim = self.state().claims["title-1"]
        self.say(
            f"Day 172. The registry is paid {cny(claim.paid_minor)} of the {cny(amount * 4 // 5)}, from these layers:"
        )
        for layer, paid in layers.items():
            if isinstance(paid, int) and paid:
                self.say(f"    {LAYERS[layer]:50} {cny(paid):>14}")
        self.say(
            f"    What coast held or was owed is gone, its scans' registration is revoked, and it still owes "
            f"{cny(claim.owed_minor)}: to those who stood in for it, and what it was paid without right."
        )
        if "revocation" not in {event.kind for event in self.state().registry.dataset("scans-coast").events}:
            raise PoolError("an upheld title claim must revoke the dataset")

    def recover(self) -> None:
        """Coast pays back what it still owes."""
        owed = self.state().claims["title-1"].owed_minor
        if owed:
            self.deposit("coast-pays", "coast", owed, 200)
            self.step("recover", 201, "exchange", amount_minor=owed)
        self.step("close", 202, "exchange", reasons="paid and recovered in full")
        self.say(
            f"Day 202. coast pays {cny(owed)}. First the reserve and the exchange's tranche get back what they paid "
            f"for coast (they stand at {self.money('reserve')} and {self.money('tranche')}), then north and south get "
            f"what coast was paid for scans that were not its own. Payable now: {self.payable()}."
        )

    def pay_out(self) -> None:
        """Everybody gets what is owed, once."""
        paid = self.act(lambda state, books: desk.pay_out(state, "2026", books=books, at=at(355))).events[0][1]
        told = ", ".join(f"{party} {cny(amount)}" for party, amount in paid["paid_minor"].items())
        self.say(f"Day 355. Every holdback's window is over, and everybody is paid: {told}.")

    def end(self) -> dict[str, dict[str, Any]]:
        """Issue every statement under one checkpoint, export, and verify all of it again."""
        year, coordinator = {"first_day": "2026-01-01", "last_day": "2026-12-31"}, self.people["exchange"]
        of_holders = {holder: state_of_holder(self.store, holder, **year) for holder in HOLDERS}
        of_data = {f"scans-{holder}": state_of_dataset(self.store, f"scans-{holder}", **year) for holder in HOLDERS}
        issued = issue(self.store, [*of_holders.values(), *of_data.values()], coordinator, at=at(356))
        documents = dict(zip([*of_holders, *of_data], issued, strict=True))
        self.say("Year's end. What each dataset earned in 2026, and what its holder's account says:")
        for (holder, of_holder), data in zip(of_holders.items(), of_data.values(), strict=True):
            paid = -sum(line.amount_minor for line in of_holder.lines if line.kind == "payout")
            self.say(
                f"    {holder:6} income {cny(data.income_minor):>14}  given back {cny(data.given_back_minor):>12}  "
                f"paid out {cny(paid):>14}  carried {cny(of_holder.payable_carried_minor)}"
            )
            for claim in data.claims:
                self.say(
                    f"           claim {claim.id}, {claim.kind}, {claim.state}: {cny(claim.paid_minor)} paid for it"
                )
        for name, document in documents.items():
            self.write(name, document)
        replace_file(self.folder / "exchange.json", json.dumps(plain(coordinator.public)).encode())
        export_pool(self.store, self.folder / "export", coordinator)
        verify_pool(self.folder / "export", coordinator.public)
        self.say(
            f"{len(documents)} statements, {self.state().size} events and every ledger entry are done again from the "
            "record and found right, with public keys alone."
        )
        return documents

    def write(self, name: str, document: dict[str, Any]) -> None:
        """A statement as signed JSON, which is verified, and as a page; as PDF where the system can."""
        data, page = canonical_bytes(document), render_statement(document)
        verify_document(parse_canonical(data, error=PoolError, where=name), self.people["exchange"].public)
        replace_file(self.folder / f"{name}.json", data)
        replace_file(self.folder / f"{name}.html", page)
        try:
            if self.pdf:
                replace_file(self.folder / f"{name}.pdf", render_pdf(page))
        except PoolError as lacking:
            self.pdf = False
            self.say(f"    no PDF: {lacking}")


def tell(folder: Path, say: Callable[[str], None] = print, *, pdf: bool = False) -> Year:
    """Live the year in a folder."""
    year = Year(folder, say, pdf=pdf)
    year.begin()
    year.licence(10_000_000, 30)
    year.settle(1, 30)
    year.refund("settlement-1", 500_000, 60)
    year.subscription(6_000_000, 2, 90)
    year.settle(2, 90)
    year.claim()
    year.recover()
    year.queries(2_000_000, 4_000, 220)
    year.settle(3, 220, holders=("north", "south"))
    year.pay_out()
    year.end()
    return year


def main() -> None:
    """Tell the year, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="an empty one; a temporary one by default")
    parser.add_argument("--no-pdf", action="store_true", help="write no PDF beside the pages")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="insurer-pool-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"{folder} is not empty: a year is lived once")
    tell(folder, pdf=not given.no_pdf).store.close()
    print(f"All of it is in {folder}. Check it with public keys alone:")
    for what in ("export", "north.json", "scans-north.json"):
        print(f"    fedjoint verify {folder / what} --exchange {folder / 'exchange.json'}")


if __name__ == "__main__":
    main()
