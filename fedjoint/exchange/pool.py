"""The compensation pool that an exchange keeps: opened with it, and only if it is its own."""

from __future__ import annotations

from dataclasses import dataclass

from fedjoint.errors import PoolError
from fedjoint.exchange.home import ExchangeHome
from fedjoint.exchange.members_store_sql import Members
from fedjoint.exchange.settings import ExchangeSettings
from fedjoint.identity.certificates import sha256_of
from fedjoint.pool.desk import add_party
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.registered import Party, Role

__all__ = ["Person", "open_pool", "register_member", "require_pool"]


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


_OPEN = "Open it first: fedjoint pool open RULES.json --key {} --pool {}"
