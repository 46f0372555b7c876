"""The lifetime ledger of one cohort: a holder's own file, in which each run's cost is written before it arises.

A run reserves its worst case, charges each release before it is made, and at its end gives back what it never used.
Whatever is killed in between, the file says at least what was released: a reservation counts in full until it is given
back, and a release counts before it leaves. Two sums are kept below two limits: what all that is opened costs, and what
it would cost if the holder's own ciphertexts were opened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from fedjoint.errors import FedjointError, PrivacyError
from fedjoint.privacy.events import Release, Releases
from fedjoint.privacy.journal import Journal, create_journal, open_journal
from fedjoint.privacy.lifetime import LifetimeBudget
from fedjoint.privacy.lifetime_account import Charged, Created, GivenBack, LifetimeAccount, Reserved, Unit, merged
from fedjoint.strict import build, plain

__all__ = ["Lifetime", "LifetimeLedger", "create_ledger"]

_KINDS: dict[str, type[Any]] = {"reserved": Reserved, "charged": Charged, "given_back": GivenBack}


class Lifetime(Protocol):
    """What a run asks of a holder's lifetime budget."""

    @property
    def epsilon(self) -> float:
        """The most that it allows to be spent, ever."""
        ...

    def reserve(
        self, lineage: str, *, agreement_sha256: str, releases: Releases, unit: Unit, cut_off: float = 0.0
    ) -> str:
        """Charge a run's worst case before it starts; gives the reservation's id."""
        ...

    def commit(self, reservation: str, *, name: str, release: Release) -> bool:
        """Charge a release before it is made; False if it was charged before, and must not be computed again."""
        ...

    def held(self, lineage: str) -> str:
        """Id of the reservation that a run holds; empty if it holds none."""
        ...

    def give_back(self, reservation: str) -> None:
        """End a reservation."""
        ...


def create_ledger(
    path: Path,
    budget: LifetimeBudget,
    *,
    if_opened: LifetimeBudget,
    cohort: str,
    unit: Unit,
    now: Callable[[], str],
) -> None:
    """Make a cohort's ledger. Do it once for these people's records, whatever file they are in.

    Args:
        path: On a local disk, where there is nothing yet; beside it comes ``NAME.counter``.
        budget: The limit and its filter, fixed for good.
        if_opened: The same for what it would cost if the holder's own ciphertexts were opened.
        cohort: The holder's name for the people whose records these are.
        unit: Unit of privacy of all runs.
        now: Gives the time, ISO 8601 in UTC.

    Raises:
        PrivacyError: the file exists, or did and its counter still stands, or cannot be written.
        InvalidValue: the cohort has no name.
    """
    created = Created(cohort=cohort, unit=unit, budget=budget, budget_if_opened=if_opened)
    create_journal(path, "created", plain(created), at=now())


class LifetimeLedger:
    """A cohort's ledger on the disk. It keeps no state in memory: any number of processes may use one file at once.

    Args:
        path: As given to :func:`create_ledger`.
        now: Gives the time, ISO 8601 in UTC.

    Guarantees:
        What was charged, by any number of processes killed at any moment, is at least what was released, as long as
        each calls :meth:`commit` before each release; and it never passes the limit. A killed process holds at most
        the reservations it had open, which :meth:`give_back` frees but for the rounds begun.
        Not noticed is that both the ledger and its counter were put back from one backup, or were removed together.
    """

    def __init__(self, path: Path, *, now: Callable[[], str]) -> None:
        self._path, self._now = path, now
        self._lock = threading.Lock()
        self._read: tuple[Journal, LifetimeAccount] | None = None  # spares reading old lines again, and nothing else

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def epsilon(self) -> float:
        """The most that may be spent, ever.

        Raises:
            PrivacyError: as for :meth:`account`.
        """
        return self.account().created.budget.epsilon

    @contextmanager
    def _opened(self, *, writing: bool) -> Iterator[tuple[Journal, LifetimeAccount]]:
        with self._lock:
            before, self._read = self._read, None
            with open_journal(self._path, writing=writing, known=before[0] if before else None) as journal:
                again = before is not None and journal.data.startswith(before[0].data)
                account = _account(journal, self._path, before if again else None)
                yield journal, account
            self._read = journal, account  # not reached where anything went wrong

    def account(self) -> LifetimeAccount:
        """Everything that was charged.

        Raises:
            PrivacyError: the file is missing, open to others, damaged or older than its counter.
        """
        return self.account_and_head()[0]

    def account_and_head(self) -> tuple[LifetimeAccount, str]:
        """The same, and SHA-256 of the last line: noted elsewhere, it tells a restored backup.

        Raises:
            PrivacyError: as for :meth:`account`.
        """
        with open_journal(self._path, writing=False) as journal:  # not the account that later verbs change
            return _account(journal, self._path), journal.head

    def reserve(
        self, lineage: str, *, agreement_sha256: str, releases: Releases, unit: Unit, cut_off: float = 0.0
    ) -> str:
        """Charge a run's worst case, on the disk, before it starts.

        Args:
            lineage: The run, by the same name whenever it is taken up again.
            agreement_sha256: Under which it runs.
            releases: All that it may ever release.
            unit: Unit of privacy in which the run bounds its releases.
            cut_off: Probability with which the run's noise is cut off.

        Returns:
            The reservation's id. Asked again for a run that holds one, the same.

        Raises:
            BudgetExhausted: it does not fit; nothing is charged.
            PrivacyError: another unit, another reservation of the same run, or as for :meth:`account`.
            InvalidValue: nothing to reserve, or no name.
        """
        wanted = Reserved(
            lineage=lineage, agreement_sha256=agreement_sha256, releases=merged(releases), cut_off=cut_off
        )
        with self._opened(writing=True) as (journal, account):
            if unit != account.created.unit:
                raise PrivacyError(
                    f"run '{lineage}' protects one {unit}",
                    expected=f"one {account.created.unit}, the unit of '{account.created.cohort}'",
                    remedy="Agree on this unit, or charge a ledger that has the other.",
                )
            held = account.open_reservation(lineage)
            if held is not None and held.reserved == wanted:
                return held.id
            if held is not None:
                raise PrivacyError(
                    f"run '{lineage}' holds reservation '{held.id}' of other releases or under another agreement",
                    remedy="Give that one back first.",
                )
            account.require_room(wanted)
            reservation = _id(journal.append("reserved", plain(wanted), at=self._now()))
            account.reserve(reservation, wanted)
            return reservation

    def commit(self, reservation: str, *, name: str, release: Release) -> bool:
        """Charge a release, on the disk, before any of it leaves.

        Args:
            reservation: Of the run.
            name: Which release of the run it is, ``round 7`` say.
            release: What it is and costs.

        Returns:
            True: release it. False: this was charged before. It costs nothing to send again what was sent then;
            computed again it would be another release and must not leave.

        Raises:
            PrivacyError: the reservation is unknown or was given back, more is released than was reserved, or as for
                :meth:`account`.
            InvalidValue: it has no name.
        """
        charged = Charged(reservation=reservation, name=name, release=release)
        with self._opened(writing=True) as (journal, account):
            if account.is_charged(reservation, name):
                return False
            account.charge(charged)
            journal.append("charged", plain(charged), at=self._now())
            return True

    def held(self, lineage: str) -> str:
        """Id of the reservation that a run holds, whichever process made it; empty if it holds none.

        Raises:
            PrivacyError: as for :meth:`account`.
        """
        reservation = self.account().open_reservation(lineage)
        return reservation.id if reservation is not None else ""

    def give_back(self, reservation: str) -> None:
        """End a reservation: what it has not released is free again. A process that still uses it is refused.

        Raises:
            PrivacyError: it is unknown or was given back before, or as for :meth:`account`.
        """
        given = GivenBack(reservation=reservation)
        with self._opened(writing=True) as (journal, account):
            account.give_back(given)
            journal.append("given_back", plain(given), at=self._now())


def _account(journal: Journal, path: Path, before: tuple[Journal, LifetimeAccount] | None = None) -> LifetimeAccount:
    """Read all lines, or those that came after, and refuse a file in which any of them makes no sense."""
    first = journal.lines[0]
    if first.type != "created":
        raise PrivacyError(f"{path.name} begins with '{first.type}'", expected="a lifetime ledger")
    start, account = 1, LifetimeAccount(build(Created, first.body, error=PrivacyError, where=f"{path.name} line 1"))
    if before is not None:
        start, account = len(before[0].lines), before[1]
    hashes = [line.previous for line in journal.lines[start + 1 :]] + [journal.head]  # of each line, its own
    for line, sha256 in zip(journal.lines[start:], hashes, strict=False):
        where = f"{path.name} line {line.seq + 1}"
        if line.type not in _KINDS:
            raise PrivacyError(f"{where} is of type '{line.type}'", expected="one of: " + ", ".join(_KINDS))
        try:
            _apply(account, build(_KINDS[line.type], line.body, error=PrivacyError, where=where), sha256)
        except FedjointError as problem:
            raise PrivacyError(f"{where} cannot be: {problem.problem}", remedy="The file was altered.") from None
    return account


def _apply(account: LifetimeAccount, fact: Reserved | Charged | GivenBack, sha256: str) -> None:
    if isinstance(fact, Reserved):
        account.reserve(_id(sha256), fact)
    elif isinstance(fact, Charged):
        account.charge(fact)
    else:
        account.give_back(fact)


def _id(sha256: str) -> str:
    """A reservation is called by the start of its line's hash."""
    return sha256[:16]
