"""A year of a consortium: three hospitals, an insurer that pays, and somebody who owns what one of them brought.

Run: python examples/insurer_pool/story.py [FOLDER]. It writes the pool's database, an export that
`fedjoint.pool.exported.verify_pool` checks, and each hospital's and each dataset's signed statement, as JSON and as a
page; and tells what happened.
"""

from __future__ import annotations

import hashlib
import sys
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
from fedjoint.pool.facts import Deposited, GivenBack, Opened
from fedjoint.pool.money import format_minor
from fedjoint.pool.record_change import Change
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.registered import DataCertificate, Dataset, Party, Policy, Rights
from fedjoint.pool.state import PoolState
from fedjoint.pool.statement_document import issue, state_of_dataset, state_of_holder, verify_document
from fedjoint.pool.statement_page import render_statement

HOLDERS = {"north": 1_200, "south": 800, "coast": 400}
CONTRIBUTIONS = {"north": 0.030, "south": 0.020, "coast": 0.010}
EXPERTS = ("ann", "ben", "cai", "dov", "eva", "fay")
ROLES = {**dict.fromkeys(HOLDERS, "holder"), "insurer": "buyer", "registry": "claimant"}
ROLES |= dict.fromkeys(EXPERTS, "expert")
FIRST_DAY = datetime(2026, 1, 5, 9, tzinfo=UTC)


def at(day: int) -> str:
    """A moment of the year, in days from its first Monday."""
    return (FIRST_DAY + timedelta(days=day)).isoformat().replace("+00:00", "Z")


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


class Year:
    """The people, the pool, and what is told about it."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
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
        return format_minor(self.store.ledger.balance(account, "CNY").posted_minor, "CNY")

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

    def revenue(self, number: int, amount: int, day: int, holders: tuple[str, ...] = tuple(HOLDERS)) -> None:
        """The insurer pays, and the revenue is divided."""
        self.deposit(f"r{number}", "insurer", amount, day)
        settling = desk.Settling(
            id=f"settlement-{number}",
            gross_minor=amount,
            contributions={holder: CONTRIBUTIONS[holder] for holder in holders},
            datasets={holder: f"scans-{holder}" for holder in holders},
            errors=dict.fromkeys(holders, 0.002),
            method="Aumann-Shapley value on ciphertexts, summed over rounds",
        )
        self.act(lambda state, books: desk.settle_revenue(state, settling, books=books, at=at(day))[0])
        shares = ", ".join(f"{holder} {self.money(f'payable:{holder}')}" for holder in HOLDERS)
        self.say(f"Day {day}. The insurer pays {format_minor(amount, 'CNY')}. Payable now: {shares}.")

    def deposit(self, number: str, party: str, amount: int, day: int) -> None:
        """Somebody pays in."""
        paid = Deposited(id=number, party=party, amount_minor=amount, currency="CNY")
        self.act(lambda state, books: receipts.deposit(state, paid, books=books, at=at(day)))

    def refund(self, settlement: str, amount: int, day: int) -> None:
        """The insurer gets a part of what it paid back, from everybody who got it."""
        given = GivenBack(settlement=settlement, buyer="insurer", amount_minor=amount, before_minor=0, how="refund")
        self.act(lambda state, books: corrections.give_back(state, given, books=books, at=at(day)))
        shares = ", ".join(f"{holder} {self.money(f'payable:{holder}')}" for holder in HOLDERS)
        self.say(
            f"Day {day}. The insurer used less than it paid for: {format_minor(amount, 'CNY')} are refunded. "
            f"Payable now: {shares}."
        )

    def step(self, verb: str, day: int, *signers: str, **body: Any) -> SignedStep:
        """Take the claim's next step, signed by its signers."""
        claims = self.state().claims
        if verb == "file":
            step = file_step(Filing(**body), at(day))
        else:
            step = Step(claim="title-1", verb=verb, at=at(day), after=claims["title-1"].head, body=body)  # type: ignore[arg-type]
        signed = SignedStep(step=step, signatures={name: sign_step(step, self.people[name]) for name in signers})
        self.act(lambda state, books: desk.move_claim(state, signed, books=books)[0])
        return signed

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
            f"Day 120. The registry claims {format_minor(amount, 'CNY')} of coast: the scans are its own. "
            f"{format_minor(held.frozen_minor, 'CNY')} of coast's money and "
            f"{format_minor(held.reserve_minor, 'CNY')} of the reserve are held; everything else is paid as before."
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
        self.step("conclude", 171, "exchange")
        self.step("pay", 172, "exchange")
        claim = self.state().claims["title-1"]
        self.say(
            f"Day 172. The registry is paid {format_minor(claim.paid_minor, 'CNY')}; its deductible is its own. "
            f"coast stands at {self.money('payable:coast')} and still owes {format_minor(claim.owed_minor, 'CNY')}."
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
            f"Day 202. coast pays {format_minor(owed, 'CNY')}: the reserve, which its frozen money refilled first, "
            f"stands at {self.money('reserve')}, and the others get what coast was paid without right."
        )

    def end(self) -> dict[str, dict[str, Any]]:
        """Pay out, issue every statement under one checkpoint, export, and verify all of it again."""
        self.act(lambda state, books: desk.pay_out(state, "2026", books=books, at=at(355)))
        self.say(f"Day 355. Everybody is paid: {self.money('bank')} left the pool in all, less what came in by bank.")
        year, coordinator = {"first_day": "2026-01-01", "last_day": "2026-12-31"}, self.people["exchange"]
        statements = {
            **{holder: state_of_holder(self.store, holder, **year) for holder in HOLDERS},
            **{f"scans-{holder}": state_of_dataset(self.store, f"scans-{holder}", **year) for holder in HOLDERS},
        }
        issued = issue(self.store, list(statements.values()), coordinator, at=at(356))
        documents = dict(zip(statements, issued, strict=True))
        for name, document in documents.items():
            data = canonical_bytes(document)
            replace_file(self.folder / f"{name}.json", data)
            replace_file(self.folder / f"{name}.html", render_statement(document))
            verify_document(parse_canonical(data, error=PoolError, where=name), coordinator.public)
        export_pool(self.store, self.folder / "export", self.people["exchange"])
        verify_pool(self.folder / "export", self.people["exchange"].public)
        self.say(
            f"Year's end. {len(documents)} statements, {self.state().size} events and every ledger entry are done "
            "again from the record and found right, with public keys alone."
        )
        return documents


def tell(folder: Path, say: Callable[[str], None] = print) -> Year:
    """Live the year in a folder."""
    year = Year(folder, say)
    year.begin()
    year.revenue(1, 10_000_000, 30)
    year.refund("settlement-1", 500_000, 60)
    year.revenue(2, 6_000_000, 90)
    year.claim()
    year.recover()
    year.revenue(3, 8_000_000, 220, holders=("north", "south"))
    year.end()
    return year


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="insurer-pool-"))
    target.mkdir(parents=True, exist_ok=True)
    tell(target)
    print(f"All of it is in {target}.")
