"""What an agreement says of contributions, fixed before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedjoint.agreement.ranges import in_range
from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = [
    "ERROR_BITS",
    "LEAST_BLOCK",
    "LEAST_GROUP",
    "MOST_ERROR_NUMBERS",
    "UNCLIPPED_ERROR_BITS",
    "USUAL_ERROR_NUMBERS",
    "ValuationTerms",
    "most_error_numbers",
    "opens_errors",
]

#: Fewest holders of a block: with one of them told by another, two updates are still hidden in its sum.
LEAST_BLOCK = 3
#: More of them would be nearer to the error than anybody needs.
MOST_ERROR_NUMBERS = 16
#: Where an exchange proposes: a standard error from so many is itself off by a third, and a coordinator that cheats
#: with them learns little more than from contributions.
USUAL_ERROR_NUMBERS = 4
#: Fewest reference records in each of the groups whose contrasts those numbers are.
LEAST_GROUP = 2
#: To so many bits each is opened: enough for an error, and little for a coordinator that chooses what it has opened.
ERROR_BITS = 16
#: Where no clip norm bounds how large it is.
UNCLIPPED_ERROR_BITS = 24


@strict
@dataclass(frozen=True, kw_only=True)
class ValuationTerms:
    """How contributions are measured, frozen before training.

    Args:
        method: ``aumann_shapley``: on the ciphertexts (architecture: <g, d_i> along the path of each round). ``none``:
            not measured; nothing but sums is opened, and ``unmeasured`` says how shares are agreed instead.
        utility: ``negative_loss``: minus the mean loss on the reference records; ``soft_auc``: the area under the ROC
            curve with the step between two scores smoothed to a sigmoid (two classes only); ``cox``: the log partial
            likelihood for each event (target ``survival`` only).
        reference: Whose records the utility is measured on. ``exchange``: a set of its own. ``holders``: records that
            each holder keeps out of training; only the sum of their clipped gradients along each round's path is
            opened, with noise where the privacy mode has any.
        quadrature_points: Gauss-Legendre nodes a round, 1 to 32.
        unmeasured: Shares under ``none``: ``by_size`` (stated number of examples) or ``equal``.
        reference_sha256: Commits the coordinator to the exchange's reference set; None where it has none.
        reference_num_examples: Its size; None likewise.
        known_path: Who is credited with what a round gains by going on as the last one did, which anybody could have
            done who saw it: ``valued`` like all else, or ``by_size`` among those who added something of their
            own, so that a replay of what was opened is worth nothing (:mod:`fedjoint.valuation.guards`).
        latest_start: Holders whose first update comes after this round count for nothing; None: whenever it comes.
        audit_blocks: Blocks of holders whose sums are opened as well, round by round, so that an auditor can value them
            in the clear: ids, sorted, ``LEAST_BLOCK`` or more in each, nobody in two (:mod:`fedjoint.training.blocks`).
        error_numbers: How many more numbers of each holder are opened at the end, each to ``ERROR_BITS`` bits, to
            estimate the error of contributions by the choice of reference records
            (:mod:`fedjoint.valuation.encrypted_errors`); 0: it is not measured on ciphertexts.
        keep_updates: Whether all consent to updates in the clear in the run's folder, to value it by other methods.
    """

    method: Literal["aumann_shapley", "none"] = "aumann_shapley"
    utility: Literal["negative_loss", "soft_auc", "cox"] = "negative_loss"
    quadrature_points: int = 4
    unmeasured: Literal["by_size", "equal"] = "by_size"
    reference: Literal["exchange", "holders"] = "exchange"
    reference_sha256: str | None = None
    reference_num_examples: int | None = None
    known_path: Literal["valued", "by_size"] = "valued"
    latest_start: int | None = None
    audit_blocks: tuple[tuple[str, ...], ...] = ()
    error_numbers: int = 0
    keep_updates: bool = False

    def __post_init__(self) -> None:
        in_range("valuation.quadrature_points", self.quadrature_points, 1, 32)
        if self.latest_start is not None:
            in_range("valuation.latest_start", self.latest_start, 1, 10_000)
        if self.method == "none" and (self.known_path != "valued" or self.latest_start is not None):
            raise InvalidValue(
                "valuation.method is none, and valuation.known_path or valuation.latest_start is agreed",
                expected="neither: they are rules of what is measured",
            )
        self._check_blocks()
        self._check_errors()
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

    def _check_blocks(self) -> None:
        if not self.audit_blocks:
            return
        members = [holder for block in self.audit_blocks for holder in block]
        small = min(len(block) for block in self.audit_blocks)
        if (
            small < LEAST_BLOCK
            or len(set(members)) < len(members)
            or any(b != tuple(sorted(b)) for b in self.audit_blocks)
        ):
            raise InvalidValue(
                f"valuation.audit_blocks of {len(members)} holders, {small} in the smallest",
                expected=f"at least {LEAST_BLOCK} in each, sorted, and nobody in two",
                remedy="Take fewer blocks: two holders could tell each other what a sum of three says of the third.",
            )
        if self.method == "none" or self.reference == "holders":
            raise InvalidValue(
                "valuation.audit_blocks without contributions on the exchange's reference set",
                expected="both: it is them that an auditor computes again",
            )

    def _check_errors(self) -> None:
        in_range("valuation.error_numbers", self.error_numbers, 0, MOST_ERROR_NUMBERS)
        if self.error_numbers and not self.opens_errors:
            raise InvalidValue(
                f"valuation.error_numbers = {self.error_numbers} with method {self.method}, reference {self.reference} "
                f"and known_path {self.known_path}",
                expected="0, or what is measured along whole gradients of the exchange's own reference set",
                remedy="Set valuation.error_numbers=0.",
            )
        records, least = self.reference_num_examples, LEAST_GROUP * (self.error_numbers + 1)
        if self.error_numbers and records is not None and records < least:
            raise InvalidValue(
                f"valuation.error_numbers = {self.error_numbers} and valuation.reference_num_examples = {records}",
                expected=f"at least {least} records: {LEAST_GROUP} in each of {self.error_numbers + 1} groups",
                remedy="Take fewer error_numbers, or a larger reference set.",
            )

    @property
    def opens_errors(self) -> bool:
        """Whether numbers for the reference set's error have a meaning under these terms."""
        return opens_errors(self.method, self.reference, self.known_path)

    def check_guards(self, *, mode: str, optimizer: str, update_norm: float | None) -> None:
        """Refuse guards that have no meaning under privacy mode and server optimiser.

        Raises:
            InvalidValue: a bound on updates that clip norm and rate bound already, or a known path where the server
                remembers the last step and goes on in its direction by itself.
        """
        if update_norm is not None and mode != "none":
            raise InvalidValue(
                f"training.maximum_update_norm is set and privacy.mode is {mode}",
                expected="none: privacy.clip_norm bounds what a round's steps come to",
            )
        if self.known_path == "by_size" and optimizer != "sgd":
            raise InvalidValue(
                f"valuation.known_path = by_size and training.server_optimizer = {optimizer}",
                expected="sgd: another goes on in the last step's direction by itself",
            )

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
        if self.known_path != "valued":
            raise InvalidValue(
                f"valuation.known_path = {self.known_path} and valuation.reference is holders",
                expected="valued: the stated error of noisy gradients does not cover a split path",
            )
        if self.keep_updates:
            raise InvalidValue(
                "valuation.keep_updates and valuation.reference is holders",
                expected="one of both: other methods need reference records, which no holder gives away",
            )


def opens_errors(method: str, reference: str, known_path: str) -> bool:
    """Whether numbers for the reference set's error have a meaning: on a set of the exchange, by whole gradients."""
    return method != "none" and reference == "exchange" and known_path == "valued"


def most_error_numbers(num_parameters: int) -> int:
    """How many numbers may be opened of a holder beside its contribution, so that all are fewer than an update's.

    Were an update the same in every round, as many numbers as it has could be solved for it.

    Example:
        >>> most_error_numbers(4), most_error_numbers(1000)
        (2, 16)
    """
    return max(0, min(MOST_ERROR_NUMBERS, num_parameters - 2))
