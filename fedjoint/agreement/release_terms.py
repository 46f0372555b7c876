"""What leaves the holders beside updates and contributions, each once and with noise of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedjoint.agreement.schema import Schema
from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["MAX_RELEASED_VALUES", "SCORE_BINS", "SIZE_NOISE", "SMALL_CELL", "ReleaseTerms", "statistics_length"]

#: Bins of a model's scores in the histogram that gives private metrics; for each, a count of either class.
SCORE_BINS = 10
#: A count of fewer people, but for none, points at persons and does not leave.
SMALL_CELL = 10
#: The usual noise on a holder's number of examples: with it all other noise of a run of epsilon 1 is 4 % greater.
SIZE_NOISE = 14.0
#: The most numbers that are opened outside rounds, as text, at a time.
MAX_RELEASED_VALUES = 1 << 20


@strict
@dataclass(frozen=True, kw_only=True)
class ReleaseTerms:
    """Releases that an agreement may add; None: it is not made.

    Args:
        statistics_noise_multiplier: Noise on the columns' sums, sums of squares, missing and category counts, from
            which every holder standardises its records before round 1. In units of what one record can change; in
            mode ``joint`` that of a holder's share.
        metrics_noise_multiplier: Noise on the histogram of labels by score, once after the last round, likewise.
        sizes_noise_multiplier: Noise that each holder added to the number of examples that the agreement states of it,
            in examples; None: those numbers are public constants, no function of the records.
        validation_noise_multiplier: Noise on the holders' gradient along each round's path, where contributions are
            measured on records that they keep out of training; in units of the clip norm, likewise.
        held_out: Probability with which a holder keeps a record out of training, for metrics or for that gradient.

    Raises:
        InvalidValue: a value out of range.
    """

    statistics_noise_multiplier: float | None = None
    metrics_noise_multiplier: float | None = None
    sizes_noise_multiplier: float | None = None
    validation_noise_multiplier: float | None = None
    held_out: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "statistics_noise_multiplier",
            "metrics_noise_multiplier",
            "sizes_noise_multiplier",
            "validation_noise_multiplier",
        ):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 1e-6 <= value <= 1e6):
                raise InvalidValue(f"releases.{name} = {value}", expected="a number from 1e-6 to 1e6")
        if not 0 <= self.held_out <= 0.9:
            raise InvalidValue(f"releases.held_out = {self.held_out}", expected="0 to 0.9")

    @property
    def any_agreed(self) -> bool:
        """Whether statistics or metrics are released."""
        return self.statistics_noise_multiplier is not None or self.metrics_noise_multiplier is not None

    def check(self, schema: Schema, *, mode: str, unit: str, validated_by_holders: bool) -> None:
        """Refuse releases that schema, privacy mode, unit of privacy or valuation do not allow.

        Raises:
            InvalidValue: statistics of a number without a public range, metrics of a target that is not binary, no
                privacy, a unit that can change the sums without bound, or records held out for nothing.
        """
        if mode == "none" and self.sizes_noise_multiplier is not None:
            raise InvalidValue(
                "releases.sizes_noise_multiplier is set and privacy.mode is none",
                remedy="Choose privacy=joint, or state sizes as they are.",
            )
        if (self.held_out > 0) != (self.metrics_noise_multiplier is not None or validated_by_holders):
            raise InvalidValue(
                f"releases.held_out = {self.held_out}",
                expected="above 0 where private metrics or valuation.reference = holders are agreed, else 0",
            )
        if (self.validation_noise_multiplier is not None) != (validated_by_holders and mode != "none"):
            raise InvalidValue(
                f"releases.validation_noise_multiplier = {self.validation_noise_multiplier}, privacy.mode is {mode}",
                expected="a number where valuation.reference = holders is agreed in a mode with noise, else none",
            )
        if not self.any_agreed:
            return
        if mode == "none" or unit != "record":
            raise InvalidValue(
                f"private statistics or metrics are agreed, privacy.mode is {mode} and privacy.unit is {unit}",
                expected="a mode with noise, and records: a patient with many would change their sums without bound",
            )
        if self.statistics_noise_multiplier is not None:
            for column in schema.columns:
                if column.kind == "number" and (column.low is None or column.high is None):
                    raise InvalidValue(
                        f"column '{column.name}' has no low and high, and its statistics are to be released",
                        remedy="Declare a public range: it bounds what one record can change.",
                    )
        if self.metrics_noise_multiplier is not None and schema.target.task != "binary":
            raise InvalidValue(
                f"private metrics of a target whose task is {schema.target.task}", expected="a binary target"
            )

    def least_coordinates(self, schema: Schema) -> int:
        """How many numbers a ciphertext must hold for these releases."""
        statistics = 0 if self.statistics_noise_multiplier is None else statistics_length(schema)
        return max(statistics, 0 if self.metrics_noise_multiplier is None else 2 * SCORE_BINS)


def statistics_length(schema: Schema) -> int:
    """How many numbers the statistics are: of a number its sum and sum of squares, of a category a count for each.

    A column with a missing flag has one more: how many of its values are missing.
    """
    return sum(
        (2 if column.kind == "number" else len(column.categories)) + column.missing_flag for column in schema.columns
    )
