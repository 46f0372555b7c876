"""What an agreement says of how records are protected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedjoint.agreement.ranges import MAX_HOLDERS, in_range
from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["TAILS_OF_DELTA", "PrivacyTerms"]

#: The part of delta that mode ``joint`` keeps for noise beyond what the encryption's fixed point can hold.
TAILS_OF_DELTA = 1e-3


@strict
@dataclass(frozen=True, kw_only=True)
class PrivacyTerms:
    """How records are protected (add-or-remove adjacency).

    Args:
        mode: ``local``: each holder adds full noise (DP-SGD); ``joint``: each adds a share, and only the encrypted sum,
            which carries the noise of all, is opened; ``none``: research baseline.
        epsilon: The most that a holder may spend in this run, at ``delta``. In mode ``joint`` it covers everything that
            is opened, contributions included, against whoever holds no key or up to ``colluders`` holders' noise.
        delta: In (0, 1); below 1 / number of records.
        clip_norm: Bound on the L2 norm of one unit's gradient.
        noise_multiplier: Standard deviation of one holder's noise in units of ``clip_norm``; in mode ``joint`` that of
            its share.
        colluders: ``joint`` only: holders that may subtract their own shares and yet learn no more than ``epsilon``.
        epsilon_if_opened: ``joint`` only: the most that a holder would have spent if its own ciphertexts were opened,
            so that its share alone protected it.
        contributions_noise_multiplier: ``joint`` only: noise on the opened contributions in units of what one record
            can change in them.
        unit: What is protected as a whole: one ``record``, or one ``patient`` with all of its records at a holder,
            whose gradients are summed before clipping; then examples, samples and weights count patients.
        insecure_seed: 0 to 2^53 - 1: makes the noise reproducible, and so not private; the report says so in red.
    """

    mode: Literal["local", "joint", "none"]
    epsilon: float | None = None
    delta: float | None = None
    clip_norm: float | None = None
    noise_multiplier: float | None = None
    colluders: int | None = None
    epsilon_if_opened: float | None = None
    contributions_noise_multiplier: float | None = None
    unit: Literal["record", "patient"] = "record"
    insecure_seed: int | None = None

    def __post_init__(self) -> None:
        if self.mode == "none" and self.unit != "record":
            raise InvalidValue(
                "privacy.unit is set and privacy.mode is none",
                remedy="Choose privacy=joint, or leave privacy.unit out.",
            )
        values = {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "clip_norm": self.clip_norm,
            "noise_multiplier": self.noise_multiplier,
        }
        joint = {
            "colluders": self.colluders,
            "epsilon_if_opened": self.epsilon_if_opened,
            "contributions_noise_multiplier": self.contributions_noise_multiplier,
        }
        if self.mode == "joint":
            values |= joint
        elif given := [name for name, value in joint.items() if value is not None]:
            raise InvalidValue(
                f"privacy.{given[0]} is set and privacy.mode is {self.mode}",
                remedy="Choose privacy=joint, or remove it.",
            )
        if self.insecure_seed is not None:
            in_range("privacy.insecure_seed", self.insecure_seed, 0, 2**53 - 1)
        if self.mode == "none":
            given = [name for name, value in values.items() if value is not None]
            if given:
                raise InvalidValue(
                    f"privacy.{given[0]} is set and privacy.mode is none", remedy="Choose privacy=local, or remove it."
                )
            return
        for name, value in values.items():
            if value is None:
                raise InvalidValue(f"privacy.{name} is missing", expected=f"a number, as mode {self.mode} adds noise")
            low, high = {"delta": (1e-12, 1 - 1e-12), "colluders": (0, MAX_HOLDERS)}.get(name, (1e-6, 1e6))
            in_range(f"privacy.{name}", value, low, high)

    @property
    def accounted_delta(self) -> float | None:
        """The delta at which epsilon is computed: in mode ``joint`` a thousandth is kept for the tails of the noise."""
        return self.delta * (1 - TAILS_OF_DELTA) if self.mode == "joint" and self.delta is not None else self.delta
