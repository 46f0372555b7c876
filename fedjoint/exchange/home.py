"""An exchange's folder: its keys, its authority, its settings, its database and its runs, each file in one place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedjoint.errors import ConfigError, IdentityError
from fedjoint.exchange.settings import TEMPLATE, ExchangeSettings
from fedjoint.files import read_secret, replace_file, write_new_secret
from fedjoint.identity.certificates import Authority, NodeKey, check_certificate, issue_certificate, make_authority
from fedjoint.identity.keys import Identity
from fedjoint.pool.engine_store_sql import POOL_FILE
from fedjoint.transport.link.server import ServerCredentials

__all__ = ["ExchangeHome", "create_home", "open_home", "renew_certificate"]

_MAX_PEM_BYTES = 64 << 10
_MAX_URL_BYTES = 4 << 10


@dataclass(frozen=True)
class ExchangeHome:
    """Where an exchange's files are.

    Args:
        folder: Of one exchange.
    """

    folder: Path

    @property
    def identity(self) -> Path:
        """The exchange's keys: it signs agreements, checkpoints and statements with them. Secret."""
        return self.folder / "identity.json"

    @property
    def authority_key(self) -> Path:
        """What certificates are signed with. Secret."""
        return self.folder / "authority.key"

    @property
    def authority_certificate(self) -> Path:
        """The authority that every node trusts."""
        return self.folder / "authority.pem"

    @property
    def tls_key(self) -> Path:
        """The exchange's TLS key. Secret."""
        return self.folder / "tls.key"

    @property
    def tls_certificate(self) -> Path:
        """The exchange's TLS certificate."""
        return self.folder / "tls.pem"

    @property
    def settings_file(self) -> Path:
        """How the exchange runs."""
        return self.folder / "exchange.yaml"

    @property
    def database(self) -> Path:
        """The database, where no URL names another."""
        return self.folder / "exchange.sqlite"

    @property
    def runs(self) -> Path:
        """Finished runs."""
        return self.folder / "runs"

    @property
    def references(self) -> Path:
        """The exchange's own records that models are measured on, by their hash. Secret."""
        return self.folder / "references"

    @property
    def work(self) -> Path:
        """What unfinished runs must not forget."""
        return self.folder / "work"

    @property
    def process(self) -> Path:
        """Locked by the process that serves."""
        return self.folder / "process.lock"

    @property
    def status(self) -> Path:
        """What the process that serves says of its connections; gone when it ends in peace."""
        return self.folder / "status.json"

    def load_identity(self) -> Identity:
        """The exchange's keys.

        Raises:
            IdentityError: missing, readable by others or no key file.
        """
        return Identity.load(self.identity)

    def load_authority(self) -> Authority:
        """The certificate authority.

        Raises:
            IdentityError: missing or readable by others.
        """
        key = NodeKey(read_secret(self.authority_key, most_bytes=_MAX_PEM_BYTES))
        return Authority(key=key, pem=_read(self.authority_certificate))

    def load_credentials(self) -> ServerCredentials:
        """What the exchange serves with.

        Raises:
            IdentityError: missing or readable by others.
        """
        return ServerCredentials(
            key_pem=read_secret(self.tls_key, most_bytes=_MAX_PEM_BYTES),
            certificate_pem=_read(self.tls_certificate),
            authority_pem=_read(self.authority_certificate),
        )

    def database_url(self, settings: ExchangeSettings) -> str:
        """Which database to use.

        Raises:
            IdentityError: the file that holds the URL is missing or readable by others.
        """
        if settings.database_url_file is not None:
            return self._secret_url(settings.database_url_file)
        return settings.database_url or f"sqlite:///{self.database.resolve()}"

    def pool_url(self, settings: ExchangeSettings) -> str | None:
        """The database of the pool that the exchange keeps; None: it keeps none.

        Raises:
            IdentityError: the file that holds the URL is missing or readable by others.
        """
        if settings.pool_url_file is not None:
            return self._secret_url(settings.pool_url_file)
        return None if settings.pool is None else f"sqlite:///{self.pool_file(settings).resolve()}"

    def pool_file(self, settings: ExchangeSettings) -> Path:
        """Where that database is, if it is a file; ``settings.pool`` names its folder."""
        return self.folder / (settings.pool or "pool") / POOL_FILE

    def _secret_url(self, name: str) -> str:
        return read_secret(self.folder / name, most_bytes=_MAX_URL_BYTES).decode(errors="replace").strip()


def create_home(
    folder: Path, *, name: str, party: str, address: str, now: datetime, database_url: str | None = None
) -> ExchangeHome:
    """Make an exchange's folder, its keys and its authority, once.

    Args:
        folder: Where there is nothing yet, or an empty folder.
        name: Of the exchange, for people.
        party: Its id in agreements.
        address: ``host:port`` that holders connect to.
        now: The present.
        database_url: SQLAlchemy's, without a password; None: SQLite in the folder.

    Raises:
        ConfigError: there is something, or the folder cannot be made.
        InvalidValue: an address that is none, or a malformed id.
    """
    listen = f"0.0.0.0:{address.rpartition(':')[2]}"
    settings = ExchangeSettings(address=address, listen=listen, database_url=database_url)
    identity, home = Identity.create(party, name), ExchangeHome(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"'{folder}' is not empty", remedy="Name a new folder: an exchange's keys are made once.")
        folder.chmod(0o700)
        for inner in (home.runs, home.references, home.work):
            inner.mkdir(mode=0o700)
    except OSError as problem:
        raise ConfigError(f"'{folder}' cannot be made: {problem.strerror}", remedy="Name another folder.") from None
    text = TEMPLATE.format(
        address=json.dumps(address), listen=json.dumps(listen), database_url=json.dumps(database_url)
    )
    replace_file(home.settings_file, text.encode())
    authority = make_authority(name, now=now)
    write_new_secret(home.authority_key, authority.key.pem)
    replace_file(home.authority_certificate, authority.pem)
    key = NodeKey.generate()
    write_new_secret(home.tls_key, key.pem)
    replace_file(home.tls_certificate, _server_certificate(authority, key, settings, party, now=now))
    identity.save(home.identity)  # last: a folder without it is none
    return home


def open_home(folder: Path) -> ExchangeHome:
    """An exchange's folder that :func:`create_home` made.

    Raises:
        ConfigError: it is none.
    """
    home = ExchangeHome(folder)
    if not home.identity.is_file() or not home.authority_key.is_file():
        raise ConfigError(
            f"'{folder}' is no exchange's folder",
            expected="one with identity.json and authority.key",
            remedy="Run: fedjoint exchange init FOLDER, or name it by --home or FEDJOINT_EXCHANGE_HOME.",
        )
    return home


def renew_certificate(home: ExchangeHome, settings: ExchangeSettings, *, now: datetime) -> bytes:
    """Issue the exchange's own TLS certificate anew, for the hosts in its settings; a restart takes it up.

    Returns:
        The certificate, PEM.
    """
    key = NodeKey(read_secret(home.tls_key, most_bytes=_MAX_PEM_BYTES))
    authority = home.load_authority()
    pem = _server_certificate(authority, key, settings, home.load_identity().id, now=now)
    check_certificate(pem, authority.pem, now=now)
    replace_file(home.tls_certificate, pem)
    return pem


def _server_certificate(
    authority: Authority, key: NodeKey, settings: ExchangeSettings, party: str, *, now: datetime
) -> bytes:
    return issue_certificate(
        authority,
        key.request(party),
        party=party,
        role="exchange",
        now=now,
        days=settings.certificate_days,
        hosts=settings.certificate_hosts,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()[:_MAX_PEM_BYTES]
    except OSError as problem:
        raise IdentityError(f"{path} cannot be read: {problem.strerror}", remedy="Restore it from a backup.") from None
