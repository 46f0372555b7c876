"""The compensation pool that an exchange keeps: opened with it, and only if it is its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.errors import PoolError
from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.members_store_sql import Members
from fedjoint.exchange.runs_store_sql import PoolStatementEntry, PoolStatements
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.identity.certificates import sha256_of
from fedjoint.identity.keys import Identity
from fedjoint.pool.desk import add_party
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.registered import Party, Role
from fedjoint.pool.statement_document import AnyStatement, issue, state_of_dataset, state_of_holder

__all__ = ["Person", "Wanted", "issue_statement", "open_pool", "register_member", "require_pool"]


def open_pool(home: ExchangeHome, settings: ExchangeSettings) -> PoolStore | None:
    """The pool that the settings name; None: the exchange keeps none.

    Raises:
        PoolError: there is no such pool, or its rules name another exchange.
        IdentityError: the file that holds its URL is missing or readable by others.
    """
    url = home.pool_url(settings)
    if url is None:
        return None
    if settings.pool is not None and not home.pool_file(settings).is_file():
        folder = home.pool_file(settings).parent
        raise PoolError(f"there is no pool in '{folder}'", remedy=_OPEN.format(home.identity, folder))
    store = PoolStore.open(url)
    try:
        own, keeper = home.load_identity().public, store.state().rules.exchange
        if keeper != own:
            raise PoolError(
                f"the pool is kept by '{keeper.id}' with keys {keeper.fingerprint}",
                expected=f"'{own.id}' with keys {own.fingerprint}",
                remedy="Name this exchange's own pool in exchange.yaml.",
            )
    except BaseException:
        store.close()
        raise
    return store


def require_pool(home: ExchangeHome, settings: ExchangeSettings) -> PoolStore:
    """The pool that the settings name.

    Raises:
        PoolError: none is named, or as :func:`open_pool`.
        IdentityError: as :func:`open_pool`.
    """
    store = open_pool(home, settings)
    if store is None:
        raise PoolError(
            f"{home.settings_file} names no pool",
            remedy=_OPEN.format(home.identity, home.folder / "pool") + " Then write `pool: pool` into it.",
        )
    return store


@dataclass(frozen=True, kw_only=True)
class Person:
    """What an exchange knows of a member as a legal person.

    Args:
        legal_id: Its number in a public register.
        role: What it takes part as.
        until: Last day, ``YYYY-MM-DD``.
        iban: Where it is paid to, if by bank.
    """

    legal_id: str
    role: Role
    until: str
    iban: str | None = None


def register_member(pool: PoolStore, members: Members, party: str, person: Person, *, at: str) -> Party:
    """Register a member in the exchange's pool, with the keys and the certificate that it enrolled with.

    Args:
        pool: The exchange's.
        members: Of the exchange.
        party: Its id, the same in both.
        person: Who it is.
        at: The present, ISO 8601 in UTC; the day is its first.

    Raises:
        IdentityError: it is no member.
        PoolError: it is registered already, or something about it is malformed.
    """
    found = Party(
        identity=members.get(party).identity,
        legal_id=person.legal_id,
        certificate_sha256=sha256_of(members.certificate(party)),
        role=person.role,
        valid_from=at[:10],
        valid_until=person.until,
        iban=person.iban,
    )
    pool.act(lambda inside: add_party(inside.state(), found, at=at))
    return found


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Of whom and of when a statement is.

    Args:
        holder: Party id.
        first_day: ``YYYY-MM-DD``.
        last_day: The same.
        dataset: One of the holder's; None: all its money.
    """

    holder: str
    first_day: str
    last_day: str
    dataset: str | None = None


def issue_statement(
    pool: PoolStore, statements: PoolStatements, exchange: Identity, wanted: Wanted, *, at: str
) -> dict[str, Any]:
    """Record and sign a holder's statement of the pool, and keep it for the holder to fetch.

    Args:
        pool: The exchange's.
        statements: Where holders fetch them.
        exchange: Signs.
        wanted: Which.
        at: The present, ISO 8601 in UTC.

    Returns:
        The document, plain JSON.

    Raises:
        PoolError: no such party or dataset, one of another holder, or a malformed period.
    """
    days = {"first_day": wanted.first_day, "last_day": wanted.last_day}
    if wanted.dataset is None:
        found: AnyStatement = state_of_holder(pool, wanted.holder, **days)
    else:
        found = state_of_dataset(pool, wanted.dataset, **days)
        if found.holder != wanted.holder:
            raise PoolError(
                f"dataset '{wanted.dataset}' is not that of '{wanted.holder}'", expected=f"'{found.holder}'"
            )
    document = issue(pool, [found], exchange, at=at)[0]
    name = f"pool-{sha256_hex(canonical_bytes(found))[:16]}"
    text = canonical_bytes(document).decode()
    statements.keep(PoolStatementEntry(id=name, party=wanted.holder, at=at, document=text))
    return document


_OPEN = "Open it first: fedjoint pool open RULES.json --key {} --pool {}"
