"""What a holder does to its records in one round of ``local`` privacy: public constants only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedjoint.errors import InvalidValue
from fedjoint.privacy.events import GaussianEvent

__all__ = ["LocalPlan"]


@dataclass(frozen=True, kw_only=True)
class LocalPlan:
    """The private steps of one round.

    Every value is a public constant of the agreement. In particular neither the sampling rate nor the divisor may be
    computed from the records at hand: both would tell how many there are.

    Args:
        clip_norm: Bound on the L2 norm of one record's gradient, > 0.
        noise_multiplier: Standard deviation of the noise on the sum in units of ``clip_norm``, 1e-6 to 1e6.
        sampling_rate: Probability with which each record takes part in a step, in (0, 1]; 1: every record.
        learning_rate: In units of the mean gradient, > 0.
        local_steps: Noisy steps in the round, at least 1.
        proximal: FedProx: times the distance from the round's model, added to the mean noisy gradient; at least 0.
            It is computed from what was released, and costs nothing.
        expected_batch_size: What the noisy sum is divided by: sampling rate times the stated number of examples.

    Raises:
        InvalidValue: a value is outside its range.

    Example:
        >>> plan = LocalPlan(clip_norm=0.5, noise_multiplier=9.0, learning_rate=0.5, expected_batch_size=303)
        >>> plan.event
        GaussianEvent(sampling_rate=1.0, noise_multiplier=9.0, count=1)
    """

    clip_norm: float
    noise_multiplier: float
    sampling_rate: float = 1.0
    learning_rate: float
    local_steps: int = 1
    proximal: float = 0.0
    expected_batch_size: float

    def __post_init__(self) -> None:
        for name in ("clip_norm", "learning_rate", "expected_batch_size"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidValue(f"{name} = {value}", expected="a finite number above 0")
        if not 0 <= self.proximal * self.learning_rate <= 1:
            raise InvalidValue(f"proximal = {self.proximal}", expected="0 to 1 / learning_rate")
        if self.local_steps < 1:
            raise InvalidValue(f"local_steps = {self.local_steps}", expected="at least 1")
        self.event  # noqa: B018  (its constructor checks the sampling rate and the noise)

    @property
    def event(self) -> GaussianEvent:
        """What the round releases; charge it before the round is computed."""
        return GaussianEvent(
            sampling_rate=self.sampling_rate, noise_multiplier=self.noise_multiplier, count=self.local_steps
        )
