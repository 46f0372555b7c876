"""A lifetime budget for each simulated holder: a folder of ledgers that a second run over it goes on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fedjoint.config import SimulationConfig
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.division import Division
from fedjoint.errors import PrivacyError
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget

__all__ = ["create_missing_ledgers", "ledgers_of"]


def ledgers_of(config: SimulationConfig, division: Division, *, now: Callable[[], str]) -> Mapping[str, LifetimeLedger]:
    """Each holder's ledger, ``<run.budgets>/<holder>.ledger``; none without ``run.budgets``. Nothing is read yet."""
    if config.run.budgets is None:
        return {}
    folder = Path(config.run.budgets).expanduser()
    return {holder.id: LifetimeLedger(folder / f"{holder.id}.ledger", now=now) for holder in division.holders}


def create_missing_ledgers(
    config: SimulationConfig, dataset: Dataset, ledgers: Mapping[str, LifetimeLedger], *, now: Callable[[], str]
) -> None:
    """Make the ledgers that are not there yet, and check that the others are of the same records.

    Raises:
        PrivacyError: a ledger is of another data set, or cannot be read or written.
        InvalidValue: a limit out of range.
    """
    run = config.run
    for holder, ledger in ledgers.items():
        cohort = f"{dataset.name} of {holder}"
        if not ledger.path.exists():
            ledger.path.parent.mkdir(parents=True, exist_ok=True)
            create_ledger(
                ledger.path,
                lifetime_budget(run.budget_epsilon, run.budget_delta),
                if_opened=lifetime_budget(run.budget_epsilon_if_opened, run.budget_delta),
                cohort=cohort,
                unit=config.privacy.unit,
                now=now,
            )
        found = ledger.account().created.cohort
        if found != cohort:
            raise PrivacyError(
                f"{ledger.path} is the ledger of '{found}'",
                expected=f"of '{cohort}'",
                remedy="Choose another run.budgets for other records.",
            )
