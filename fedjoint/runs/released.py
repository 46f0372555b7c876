"""What a run's record says was released once, beside updates and contributions, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.errors import RecordError
from fedjoint.privacy.releases import Cost, dearest, itemised
from fedjoint.privacy.sum_plan import SumPlan, metrics_plan
from fedjoint.runs.recompute import require_signed
from fedjoint.runs.recorded import RecordedRun
from fedjoint.valuation.histogram import HistogramMetrics, metrics_of_histogram

__all__ = ["account_of", "check_released", "metrics_of", "released_metrics"]


def released_metrics(plan: SumPlan, values: Sequence[int], *, num_holders: int) -> HistogramMetrics:
    """What an opened histogram says, the same at every party.

    Args:
        plan: From :func:`fedjoint.privacy.sum_plan.metrics_plan`.
        values: The opened sum in steps.
        num_holders: Whose histograms are in it.
    """
    counts = plan.read(np.array(values, dtype=np.int64))
    return metrics_of_histogram(counts, noise_sd=plan.sd(num_holders))


def check_released(run: RecordedRun, agreement: SignedAgreement) -> str:
    """What was agreed to be released once was, by enough holders, opened alike, and nothing else.

    Raises:
        RecordError: names the release.
    """
    releases = agreement.terms.releases
    agreed = {
        "statistics": releases.statistics_noise_multiplier is not None,
        "metrics": releases.metrics_noise_multiplier is not None,
    }
    made = {release.purpose for release in run.released}
    if len(made) != len(run.released) or made != {purpose for purpose, wanted in agreed.items() if wanted}:
        raise RecordError(f"released once: {', '.join(sorted(made)) or 'nothing'}", expected="each as agreed, once")
    for release in run.released:
        facts = {
            "purpose": release.purpose,
            "contributors": list(release.contributors),
            "values": list(release.values),
        }
        for holder, signature in release.opened.items():
            where = f"{release.purpose} opened by '{holder}'"
            require_signed(agreement, run.run_id, holder, "opened release", facts, signature, where)
        if len(release.opened) < MINIMUM_OPENERS:
            raise RecordError(f"the {release.purpose} were opened by {len(release.opened)} holders", expected="two")
        if len(release.contributors) < agreement.terms.training.minimum_holders:
            raise RecordError(f"the {release.purpose} are of {len(release.contributors)} holders")
    return f"{', '.join(sorted(made))} opened alike by two holders or more" if made else "none was agreed"


def account_of(run: RecordedRun, agreement: SignedAgreement) -> tuple[Cost, ...]:
    """What each purpose cost the holder that spent most, from the receipts that holders signed."""
    if agreement.terms.privacy.mode == "none":
        return ()
    return itemised(agreement.terms, dearest(receipt.releases for receipt in run.last_receipts.values()))


def metrics_of(run: RecordedRun, agreement: SignedAgreement) -> HistogramMetrics | None:
    """The private metrics that the opened histogram gives, if there is one."""
    for release in run.released:
        if release.purpose == "metrics":
            values = [int(value) for value in release.values]
            return released_metrics(metrics_plan(agreement.terms), values, num_holders=len(release.contributors))
    return None
