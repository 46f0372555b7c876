"""A holder's folder: everything that its node keeps, each file in one place.

Secrets are files of mode 0600 in a folder of mode 0700. Nothing in it was written by anybody else but the exchange's
signed documents and certificates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import ConfigError, IdentityError
from fedjoint.files import read_secret, replace_file
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.strict import build, strict

__all__ = ["Home", "Membership", "create_home", "open_home"]

_MAX_MEMBERSHIP_BYTES = 64 << 10


@strict
@dataclass(frozen=True, kw_only=True)
class Membership:
    """What joining an exchange came to; public.

    Args:
        target: ``host:port`` that the node connects to.
        exchange: Who signs statements and checkpoints.
        authority: PEM of the only authority that the node trusts.
    """

    target: str
    exchange: PublicIdentity
    authority: str


@dataclass(frozen=True)
class Home:
    """Where a holder's files are.

    Args:
        folder: Of one holder.
    """

    folder: Path

    @property
    def identity(self) -> Path:
        """The holder's keys: it signs agreements with them. Secret."""
        return self.folder / "identity.json"

    @property
    def policy(self) -> Path:
        """The holder's own limits."""
        return self.folder / "policy.yaml"

    @property
    def settings(self) -> Path:
        """How the node runs."""
        return self.folder / "holder.yaml"

    @property
    def tls(self) -> Path:
        """The node's TLS key and certificate in one file, so that both change at once. Secret."""
        return self.folder / "tls.pem"

    @property
    def joined(self) -> Path:
        """The exchange that the holder joined."""
        return self.folder / "exchange.json"

    @property
    def data(self) -> Path:
        """What records there are, and their lifetime ledgers."""
        return self.folder / "data"

    @property
    def agreements(self) -> Path:
        """What was signed."""
        return self.folder / "agreements"

    @property
    def models(self) -> Path:
        """Model code that somebody here approved, each file named by its SHA-256."""
        return self.folder / "models"

    @property
    def runs(self) -> Path:
        """What runs must not forget. Secret."""
        return self.folder / "runs"

    @property
    def metered(self) -> Path:
        """What runs cost in processor time."""
        return self.folder / "metered"

    @property
    def witnessed(self) -> Path:
        """The last checkpoint seen of each log."""
        return self.folder / "witnessed"

    @property
    def statements(self) -> Path:
        """The exchange's signed statements."""
        return self.folder / "statements"

    def load_identity(self) -> Identity:
        """The holder's keys.

        Raises:
            IdentityError: the file is missing, readable by others or no key file.
        """
        return Identity.load(self.identity)

    def load_membership(self) -> Membership:
        """The exchange that was joined.

        Raises:
            IdentityError: none was.
        """
        if not self.joined.exists():
            raise IdentityError(
                f"'{self.folder}' has joined no exchange", remedy="Run: fedjoint holder join HOST:PORT --invite FILE"
            )
        value = parse_canonical(
            read_secret(self.joined, most_bytes=_MAX_MEMBERSHIP_BYTES), error=IdentityError, where=self.joined.name
        )
        return build(Membership, value, error=IdentityError, where=self.joined.name)

    def save_membership(self, membership: Membership) -> None:
        """Note the exchange that was joined."""
        replace_file(self.joined, canonical_bytes(membership), mode=0o600)

    def forget_membership(self) -> None:
        """Have joined no exchange, and hold no certificate."""
        self.joined.unlink(missing_ok=True)
        self.tls.unlink(missing_ok=True)


def create_home(folder: Path, identity: Identity, *, policy: str, settings: str) -> Home:
    """Make a holder's folder, once.

    Args:
        folder: Where there is nothing yet, or an empty folder.
        identity: The holder's new keys.
        policy: Text of its policy file.
        settings: Text of its settings file.

    Raises:
        ConfigError: there is something.
    """
    home = Home(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"'{folder}' is not empty", remedy="Name a new folder: a holder's keys are made once.")
        folder.chmod(0o700)
        for inner in (home.data, home.agreements, home.models, home.runs, home.witnessed, home.statements):
            inner.mkdir(mode=0o700)
        replace_file(home.policy, policy.encode())
        replace_file(home.settings, settings.encode())
    except OSError as problem:
        raise ConfigError(f"'{folder}' cannot be made: {problem.strerror}", remedy="Name another folder.") from None
    identity.save(home.identity)
    return home


def open_home(folder: Path) -> Home:
    """A holder's folder that :func:`create_home` made.

    Raises:
        ConfigError: it is none.
    """
    home = Home(folder)
    if not home.identity.is_file():
        raise ConfigError(
            f"'{folder}' is no holder's folder",
            expected="one with identity.json",
            remedy="Run: fedjoint holder init FOLDER, or name it by --home or FEDJOINT_HOLDER_HOME.",
        )
    return home
