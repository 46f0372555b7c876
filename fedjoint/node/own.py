"""A holder's own contribution to a run of its node, computed from the diary that the node kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedjoint.conduct.own_contribution import own_contribution
from fedjoint.conduct.reference import ReferenceSet, Yardstick
from fedjoint.conduct.reference_file import read_reference
from fedjoint.errors import TrainingError
from fedjoint.node.home import Home
from fedjoint.runs.own import OwnContribution
from fedjoint.training.diary import read_diary

__all__ = ["diaries", "own_of"]


def diaries(home: Home) -> dict[str, Path]:
    """Run id to the folder of its diary, the latest run last."""
    found = sorted(home.runs.glob("*/diaries/*"), key=lambda path: path.stat().st_mtime)
    return {path.name: path for path in found}


def own_of(
    home: Home, start: str, reference: Path | None, *, stated: Callable[[str], float | None] = lambda run_id: None
) -> OwnContribution:
    """Value the holder's own updates.

    Args:
        home: The holder's folder.
        start: How the run's id begins; empty: the latest run.
        reference: The exchange's reference records; None where contributions are measured on holders' records.
        stated: From run id to what the holder's statement of it says.

    Raises:
        TrainingError: no such run, or several, or its diary is damaged.
        ValuationError: the reference records are missing, or others than the agreement commits to.
    """
    known = diaries(home)
    fitting = [run_id for run_id in known if run_id.startswith(start.lower())]
    if not fitting or (start and len(fitting) > 1):
        raise TrainingError(f"runs that begin with '{start}': {len(fitting)}", expected="the start of one run's id")
    run_id = fitting[-1]
    agreement, diary = read_diary(known[run_id])
    records = None
    if reference is not None:
        measured = ReferenceSet.of(read_reference(reference, agreement.terms), agreement.terms)
        yardstick = Yardstick(measured, agreement.terms.data.schema)
        if (standardisation := diary.standardisation()) is not None:
            yardstick.standardise(standardisation)
        records = yardstick.reference
    return own_contribution(
        agreement.terms,
        diary.rounds(),
        holder=home.load_identity().id,
        run_id=run_id,
        agreement_sha256=agreement.sha256,
        reference=records,
        stated=stated(run_id),
    )
