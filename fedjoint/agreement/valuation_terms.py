"""What an agreement says of contributions, fixed before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedjoint.agreement.ranges import in_range
from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["ValuationTerms"]


@strict
@dataclass(frozen=True, kw_only=True)
class ValuationTerms:
    """How contributions are measured, frozen before training.

    Args:
        method: ``aumann_shapley``: on the ciphertexts (architecture: <g, d_i> along the path of each round). ``none``:
            not measured; nothing but sums is opened, and ``unmeasured`` says how shares are agreed instead.
        utility: ``negative_loss``: minus the mean loss on the reference records; ``soft_auc``: the area under the ROC
            curve with the step between two scores smoothed to a sigmoid (two classes only).
        reference: Whose records the utility is measured on. ``exchange``: a set of its own. ``holders``: records that
            each holder keeps out of training; only the sum of their clipped gradients along each round's path is
            opened, with noise where the privacy mode has any.
        quadrature_points: Gauss-Legendre nodes a round, 1 to 32.
        unmeasured: Shares under ``none``: ``by_size`` (stated number of examples) or ``equal``.
        reference_sha256: Commits the coordinator to the exchange's reference set; None where it has none.
        reference_num_examples: Its size; None likewise.
        keep_updates: Whether all consent to updates in the clear in the run's folder, to value it by other methods.
    """

    method: Literal["aumann_shapley", "none"] = "aumann_shapley"
    utility: Literal["negative_loss", "soft_auc"] = "negative_loss"
    quadrature_points: int = 4
    unmeasured: Literal["by_size", "equal"] = "by_size"
    reference: Literal["exchange", "holders"] = "exchange"
    reference_sha256: str | None = None
    reference_num_examples: int | None = None
    keep_updates: bool = False

    def __post_init__(self) -> None:
        in_range("valuation.quadrature_points", self.quadrature_points, 1, 32)
        if self.reference == "holders":
            self._check_holders()
            return
        if self.reference_sha256 is None or self.reference_num_examples is None:
            raise InvalidValue(
                "the exchange's reference set is not committed to",
                expected="valuation.reference_sha256 and valuation.reference_num_examples",
                remedy="Name both, or agree on valuation.reference = holders.",
            )
        in_range("valuation.reference_num_examples", self.reference_num_examples, 1, 1e9)

    def _check_holders(self) -> None:
        if self.reference_sha256 is not None or self.reference_num_examples is not None:
            raise InvalidValue(
                "a reference set of the exchange is named and valuation.reference is holders", expected="one of both"
            )
        if self.method == "none":
            raise InvalidValue(
                "valuation.reference is holders and valuation.method is none",
                expected="measured contributions: nothing else needs the holders' gradients",
            )
        if self.utility != "negative_loss":
            raise InvalidValue(
                f"valuation.utility = {self.utility} and valuation.reference is holders",
                expected="negative_loss: it is a mean over records, each of which one holder has",
            )
        if self.keep_updates:
            raise InvalidValue(
                "valuation.keep_updates and valuation.reference is holders",
                expected="one of both: other methods need reference records, which no holder gives away",
            )
