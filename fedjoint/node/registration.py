"""What a holder registered of a data set with a pool: no signature and no task unless it is valid that very day.

The holder keeps it in its own folder and asks nobody else: whatever an exchange says or leaves out, records whose
consent, certificate or policy has ended are not trained on.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import PoolError
from fedjoint.files import replace_file
from fedjoint.node.datasets import DatasetNote
from fedjoint.node.home import Home
from fedjoint.pool.registered import DatasetEvent, Registered, after_event
from fedjoint.strict import build

__all__ = ["register", "registration_of", "require_registered", "revoke"]


def registration_of(home: Home, name: str) -> Registered | None:
    """What a data set is registered as; None: it is not.

    Raises:
        PoolError: the file is damaged.
    """
    path = _path(home, name)
    if not path.exists():
        return None
    value = parse_canonical(path.read_bytes(), error=PoolError, where=path.name)
    return build(Registered, value, error=PoolError, where=path.name)


def register(home: Home, note: DatasetNote, registered: Registered, *, day: date) -> None:
    """Keep what a data set is registered as, or what became of it since.

    Args:
        home: The holder's folder.
        note: The data set.
        registered: As the pool's registry has it.
        day: Today.

    Raises:
        PoolError: it is another's, or forgets an event that is kept here.
    """
    own, holder = home.load_identity().id, registered.as_of(day).holder
    if holder != own:
        raise PoolError(f"dataset '{registered.dataset.id}' is that of '{holder}'", expected=f"one of '{own}'")
    before = registration_of(home, note.name)
    if before is not None and before.dataset.id == registered.dataset.id and not _goes_on(before, registered):
        raise PoolError(
            f"'{note.name}' is registered as '{before.dataset.id}' with other facts or events",
            remedy="Compare: fedjoint registry dataset show; what is kept here is never taken back.",
        )
    replace_file(_path(home, note.name), canonical_bytes(registered), mode=0o600)


def revoke(home: Home, note: DatasetNote, *, effective: str, reason: str) -> Registered:
    """End a data set's registration: this node trains on it no more from that day on.

    Args:
        home: The holder's folder.
        note: The data set.
        effective: First day, ``YYYY-MM-DD``.
        reason: In words.

    Returns:
        What is kept now; the pool's registry has to be told the same.

    Raises:
        PoolError: it is not registered, or has ended already.
    """
    before = registration_of(home, note.name)
    if before is None:
        raise PoolError(f"data set '{note.name}' is not registered", remedy="See: fedjoint holder data register.")
    event = DatasetEvent(dataset=before.dataset.id, kind="revocation", effective=effective, reason=reason)
    ended = after_event(before, event)
    replace_file(_path(home, note.name), canonical_bytes(ended), mode=0o600)
    return ended


def require_registered(home: Home, name: str, *, agreed: str | None, purpose: str, day: date) -> None:
    """Refuse an agreement, or a task under it, that a data set's registration does not allow.

    Called before this holder signs, and before every task.

    Args:
        home: The holder's folder.
        name: The data set's name here.
        agreed: Id of the registered dataset that the agreement names for this holder; None: none.
        purpose: The agreement's, word by word.
        day: Today.

    Raises:
        PoolError: the agreement names another dataset than is registered, or one where nothing is, or the
            registration does not allow it on that day: names all reasons.
    """
    found = registration_of(home, name)
    registered = found.dataset.id if found is not None else None
    if registered != agreed:
        raise PoolError(
            f"the agreement names {_words(agreed)} and data set '{name}' is registered as {_words(registered)}",
            remedy="Keep the registration: fedjoint holder data register; or have the agreement name it.",
        )
    reasons = found.objections_to_run(purpose, day) if found is not None else []
    if reasons:
        raise PoolError(f"no run on dataset '{registered}' on {day}: {'; '.join(reasons)}")


def _goes_on(before: Registered, after: Registered) -> bool:
    """Whether one registration is the other, or the other with what became of it since."""
    return before.dataset == after.dataset and after.events[: len(before.events)] == before.events


def _words(dataset: str | None) -> str:
    return "nothing" if dataset is None else f"'{dataset}'"


def _path(home: Home, name: str) -> Path:
    return home.data / f"{name}.registration.json"
