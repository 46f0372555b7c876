"""What an agreement says of contributions, fixed before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedjoint.agreement.ranges import in_range
from fedjoint.strict import strict

__all__ = ["ValuationTerms"]


@strict
@dataclass(frozen=True, kw_only=True)
class ValuationTerms:
    """How contributions are measured, frozen before training.

    Args:
        method: ``aumann_shapley``: on the ciphertexts (architecture: <g, d_i> along the path of each round). ``none``:
            not measured; nothing but sums is opened, and ``unmeasured`` says how shares are agreed instead.
        utility: ``negative_loss``: minus the mean loss on the exchange's reference set; ``soft_auc``: the area under
            the ROC curve with the step between two scores smoothed to a sigmoid (two classes only).
        quadrature_points: Gauss-Legendre nodes a round, 1 to 32.
        unmeasured: Shares under ``none``: ``by_size`` (stated number of examples) or ``equal``.
        reference_sha256: Commits the coordinator to the reference set.
        reference_num_examples: Its size.
        keep_updates: Whether all consent to updates in the clear in the run's folder, to value it by other methods.
    """

    method: Literal["aumann_shapley", "none"] = "aumann_shapley"
    utility: Literal["negative_loss", "soft_auc"] = "negative_loss"
    quadrature_points: int = 4
    unmeasured: Literal["by_size", "equal"] = "by_size"
    reference_sha256: str
    reference_num_examples: int
    keep_updates: bool = False

    def __post_init__(self) -> None:
        in_range("valuation.quadrature_points", self.quadrature_points, 1, 32)
        in_range("valuation.reference_num_examples", self.reference_num_examples, 1, 1e9)
