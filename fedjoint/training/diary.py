"""What a holder keeps of a run for its own eyes: what it sent, and how the model moved, round by round.

With it the holder can compute again what its updates added, by round and, with the reference records at hand, by class
(:mod:`fedjoint.conduct.own_contribution`). Nothing in it leaves the holder: its updates stand in it in the clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.agreement.signing import SignedAgreement, read_agreement
from fedjoint.agreement.terms import Terms
from fedjoint.data.standardise import Standardisation
from fedjoint.errors import TrainingError
from fedjoint.files import replace_file
from fedjoint.strict import build
from fedjoint.training.aggregate import state_bytes, state_from_bytes
from fedjoint.training.optimizer import ServerState, num_moments

__all__ = ["Diary", "FolderDiary", "OwnRound", "diary_of", "read_diary"]

Vector = npt.NDArray[np.float64]

#: A node keeps a diary of a run if all agreed rounds fit into so many bytes: every table's model does.
_MOST_BYTES = 512 << 20
_AGREEMENT, _STANDARDISATION = "agreement.json", "standardisation.json"


class Diary(Protocol):
    """Hears what a holder must keep to value its own updates."""

    def sent(self, round_number: int, update: Vector) -> None:
        """The weighted update of a round as it was encrypted, float64 [D]."""
        ...

    def moved(self, round_number: int, contributors: Sequence[str], *, before: ServerState, after: ServerState) -> None:
        """A round's sum was opened; how the model stood before it and after."""
        ...

    def standardised(self, standardisation: Standardisation) -> None:
        """The holders' statistics were opened, and records are encoded by them from now on."""
        ...

    def gradient(self, round_number: int, gradient: Vector) -> None:
        """The holders' gradient along a round's path was opened, float64 [D]."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnRound:
    """One round as the holder saw it; what it did not see is None.

    Args:
        number: From 1.
        update: What it sent, weighted, float64 [D].
        contributors: Whose updates are in the round's sum.
        before: The server's state before it.
        after: After it.
        gradient: The opened path gradient, where contributions are measured on holders' records.
    """

    number: int
    update: Vector | None = None
    contributors: tuple[str, ...] = ()
    before: ServerState | None = None
    after: ServerState | None = None
    gradient: Vector | None = None


def diary_of(folder: Path | None, agreement: SignedAgreement) -> FolderDiary | None:
    """Keep a run's diary; None without a folder, and of models that would fill the disk.

    Raises:
        TrainingError: the folder cannot be written.
    """
    terms = agreement.terms
    numbers = 2 + 2 * num_moments(terms.training) + (1 if terms.validated_by_holders else 0)
    if folder is None or terms.training.rounds * terms.num_parameters * 8 * numbers > _MOST_BYTES:
        return None
    diary = FolderDiary(folder, terms)
    diary.replace(_AGREEMENT, agreement.to_bytes())
    return diary


def read_diary(folder: Path) -> tuple[SignedAgreement, FolderDiary]:
    """A diary that was kept, and the agreement that its run was under.

    Raises:
        TrainingError: there is none.
        AgreementError: its agreement is malformed.
    """
    path = folder / _AGREEMENT
    if not path.exists():
        raise TrainingError(
            f"{folder.name} has no diary", remedy="A node keeps one of each run from its first task on."
        )
    agreement = read_agreement(path.read_bytes())
    return agreement, FolderDiary(folder, agreement.terms)


class FolderDiary:
    """A :class:`Diary` in a folder of files that only their owner can read.

    Args:
        folder: Of one run of one holder; made if missing.
        terms: The agreement.

    Guarantees:
        A round that is done again after a restart replaces what stands there: it is the very same.
    """

    def __init__(self, folder: Path, terms: Terms) -> None:
        self._folder, self._terms = folder, terms

    def sent(self, round_number: int, update: Vector) -> None:
        """See :class:`Diary`."""
        self._write(round_number, "sent", {"update": update})

    def moved(self, round_number: int, contributors: Sequence[str], *, before: ServerState, after: ServerState) -> None:
        """See :class:`Diary`."""
        states = {"before": np.frombuffer(state_bytes(before), "u1"), "after": np.frombuffer(state_bytes(after), "u1")}
        self._write(round_number, "moved", states, words={"contributors": ",".join(contributors)})

    def gradient(self, round_number: int, gradient: Vector) -> None:
        """See :class:`Diary`."""
        self._write(round_number, "gradient", {"gradient": gradient})

    def standardised(self, standardisation: Standardisation) -> None:
        """See :class:`Diary`."""
        self.replace(_STANDARDISATION, canonical_bytes(standardisation))

    def standardisation(self) -> Standardisation | None:
        """What records were standardised by; None: by the agreement's constants alone.

        Raises:
            TrainingError: the file is damaged.
        """
        path = self._folder / _STANDARDISATION
        if not path.exists():
            return None
        value = parse_canonical(path.read_bytes(), error=TrainingError, where=path.name)
        return build(Standardisation, value, error=TrainingError, where=path.name)

    def rounds(self) -> list[OwnRound]:
        """Every agreed round, in order.

        Raises:
            TrainingError: a file is damaged.
        """
        return [self._round(number) for number in range(1, self._terms.training.rounds + 1)]

    def _round(self, number: int) -> OwnRound:
        sent, _ = self._read(number, "sent")
        moved, words = self._read(number, "moved")
        opened, _ = self._read(number, "gradient")
        return OwnRound(
            number=number,
            update=self._vector(sent.get("update")),
            contributors=tuple(words["contributors"].split(",")) if moved else (),
            before=state_from_bytes(moved["before"].tobytes(), self._terms) if moved else None,
            after=state_from_bytes(moved["after"].tobytes(), self._terms) if moved else None,
            gradient=self._vector(opened.get("gradient")),
        )

    def _vector(self, found: npt.NDArray[np.generic] | None) -> Vector | None:
        if found is None:
            return None
        if found.dtype != np.float64 or found.shape != (self._terms.num_parameters,) or not np.isfinite(found).all():
            raise TrainingError(f"{self._folder.name} holds a vector of another model")
        return found.astype(np.float64)

    def _path(self, number: int, what: str) -> Path:
        return self._folder / f"{number:05}.{what}.safetensors"

    def _write(
        self,
        number: int,
        what: str,
        tensors: dict[str, npt.NDArray[np.generic]],
        *,
        words: dict[str, str] | None = None,
    ) -> None:
        self.replace(self._path(number, what).name, save(tensors, metadata=words))

    def replace(self, name: str, content: bytes) -> None:
        """Write a file that only its owner can read.

        Raises:
            TrainingError: it cannot be written.
        """
        path = self._folder / name
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, content, mode=0o600)
        except OSError as problem:
            raise TrainingError(f"{path} cannot be written: {problem.strerror}") from None

    def _read(self, number: int, what: str) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, str]]:
        path = self._path(number, what)
        if not path.exists():
            return {}, {}
        try:
            with safe_open(path, "numpy") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        except (OSError, SafetensorError, ValueError) as problem:
            raise TrainingError(f"{path.name} cannot be read: {type(problem).__name__}") from None
