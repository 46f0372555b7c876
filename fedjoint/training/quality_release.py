"""A quality report that is to leave its holder: counts with noise, no small cell, and its line in the account."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.agreement.schema import Schema
from fedjoint.data.quality import QualityReport, cell_counts, cell_names, counts_sensitivity, suppress
from fedjoint.errors import PrivacyError
from fedjoint.files import replace_file
from fedjoint.privacy.events import GaussianEvent, Release
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.noisy_sums import noisy_sums
from fedjoint.privacy.sum_plan import SumPlan
from fedjoint.strict import plain, strict
from fedjoint.training.charges import charge_alone

__all__ = ["SharedQuality", "release_quality", "share_quality"]


@strict
@dataclass(frozen=True, kw_only=True)
class SharedQuality:
    """What others see of a holder's records.

    Args:
        counts: Cell to its noisy count; None where it is withheld because it, or one beside it, is small.
        release: What it cost: charge it before this leaves, as :func:`share_quality` does.
        noise_sd: Standard deviation of the noise on each count.
    """

    counts: dict[str, int | None]
    release: Release
    noise_sd: float


def release_quality(
    report: QualityReport, schema: Schema, *, noise_multiplier: float, noise: NoiseSource
) -> SharedQuality:
    """Make of a report what may leave its holder, which adds all of the noise itself.

    Args:
        report: From :func:`fedjoint.data.quality.check_quality`, of the same schema.
        schema: Public.
        noise_multiplier: Standard deviation in units of what one record can change, 1e-6 to 1e6.
        noise: The holder's source.

    Raises:
        InvalidValue: the noise multiplier is out of range.

    Guarantees:
        Add-or-remove private as one Gaussian release of that multiplier. Small cells are withheld after the noise, so
        that withholding tells nothing more. Ranges, and whether a column is there, do not leave.
    """
    release = _release(noise_multiplier)
    names, counts = cell_names(schema), cell_counts(report, schema)
    plan = SumPlan(
        length=len(names),
        sensitivity=counts_sensitivity(schema),
        noise_multiplier=noise_multiplier,
        steps=16,  # whole numbers of the grid: noise below a count is not rounded up to one
        whole=True,
    )
    noisy = plan.read(noisy_sums(counts, plan, noise))
    shown: dict[str, int | None] = {}
    at = 0
    for column in schema.columns:
        cells = slice(at, at + 1 + len(column.categories))
        shown |= dict(zip(names[cells], suppress(noisy[cells].tolist()), strict=True))
        at = cells.stop
    return SharedQuality(counts=shown, release=release, noise_sd=plan.sd(1))


def share_quality(
    path: Path,
    report: QualityReport,
    schema: Schema,
    *,
    noise_multiplier: float,
    noise: NoiseSource,
    lifetime: Lifetime,
    name: str,
) -> SharedQuality:
    """Charge a report to the holder's budget, then write what of it may leave, as JSON.

    Args:
        path: Where to; a file there is replaced.
        report: See :func:`release_quality`, as for schema, noise multiplier and noise.
        schema: Public.
        noise_multiplier: As there.
        noise: As there.
        lifetime: Of these records, whose unit of privacy is the record: a patient's many could change counts by more.
        name: Of this release in the budget, never used before.

    Raises:
        BudgetExhausted: nothing is left for it; nothing was computed.
        PrivacyError: the budget is of patients, or the file cannot be written; what is charged stays so.
        InvalidValue: the noise multiplier is out of range.
    """
    charge_alone(lifetime, _release(noise_multiplier), unit="record", name=name)
    shared = release_quality(report, schema, noise_multiplier=noise_multiplier, noise=noise)
    try:
        replace_file(path, canonical_bytes(plain(shared)))
    except OSError as problem:
        raise PrivacyError(f"'{path}' cannot be written: {problem.strerror}") from None
    return shared


def _release(noise_multiplier: float) -> Release:
    event = GaussianEvent(sampling_rate=1.0, noise_multiplier=noise_multiplier)
    return Release(purpose="statistics", event=event, if_opened=event)
