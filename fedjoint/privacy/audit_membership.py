"""Who took part? Canaries in one run of the agreed mechanism, through the same code that protects records.

A canary is a record whose gradient points along a coordinate of its own (Dirac canary): the easiest record to find that
there is. Half of them, by fair coins, are put into a holder's data; the attacker reads what leaves the holder and says
of those it is surest about whether they took part.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PrivacyError
from fedjoint.privacy.audit_bound import epsilon_lower_bound
from fedjoint.privacy.audit_report import Membership, Protection, View
from fedjoint.privacy.batch import Batch
from fedjoint.privacy.joint_plan import JointPlan, coarsest_step
from fedjoint.privacy.joint_share import noisy_share
from fedjoint.privacy.local_plan import LocalPlan
from fedjoint.privacy.local_training import private_update
from fedjoint.privacy.noise import NoiseSource

__all__ = ["BREAKAGES", "CANARIES", "Breakage", "Mechanism", "attack", "judged", "mechanism_of", "plain_updates"]

CANARIES, _GUESSES = 2_000, 400
_MOST_STEPS = 10
#: How much longer than the clip norm a canary's gradient is.
_LENGTH = 50.0

#: (records) to what the attacker reads of all rounds together, [CANARIES], more for a canary that took part.
Updates = Callable[[Batch], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """What protects a holder's records in a run, for a model of as many parameters as there are canaries.

    Args:
        clip_norm: As agreed.
        noise_multiplier: Of one holder, as agreed.
        sampling_rate: As agreed.
        rounds: At least 1.
        local_steps: Noisy steps in each.
        shares: In mode ``joint`` how many shares of noise the attacker cannot take away; 0 in mode ``local``.
    """

    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    rounds: int
    local_steps: int = 1
    shares: int = 0

    def __call__(self, batch: Batch) -> NDArray[np.float64]:
        """Run it, with secret noise, and give what the attacker reads."""
        noise = NoiseSource.secure()
        total = np.zeros(batch.features.shape[1])
        for _ in range(self.rounds):
            total += self._joint_round(batch, noise) if self.shares else self._local_round(batch, noise)
        return total

    def _local_round(self, batch: Batch, noise: NoiseSource) -> NDArray[np.float64]:
        plan = LocalPlan(
            clip_norm=self.clip_norm,
            noise_multiplier=self.noise_multiplier,
            sampling_rate=self.sampling_rate,
            learning_rate=1.0,
            local_steps=self.local_steps,
            expected_batch_size=1.0,
        )
        update = private_update(_model(batch), batch, per_example_loss=_uphill, plan=plan, noise=noise)
        return update.vector.astype(np.float64)

    def _joint_round(self, batch: Batch, noise: NoiseSource) -> NDArray[np.float64]:
        size = batch.features.shape[1]
        plan = JointPlan(
            num_parameters=size,
            num_holders=max(self.shares, 2),
            rounds=self.rounds,
            sampling_rate=self.sampling_rate,
            clip_norm=self.clip_norm,
            step=coarsest_step(self.clip_norm, size),
            noise_multiplier=self.noise_multiplier,
            contributions_noise_multiplier=1.0,  # of coordinates that are not looked at
        )
        nobody = batch.take(np.zeros(0, dtype=np.int64))
        holders = [batch, *[nobody] * (self.shares - 1)]
        shares = [noisy_share(_model(batch), one, per_example_loss=_uphill, plan=plan, noise=noise) for one in holders]
        return np.asarray(np.sum(shares, axis=0)[:size] * plan.step, dtype=np.float64)


def mechanism_of(terms: Terms, view: View) -> Mechanism:
    """The mechanism of agreed terms, as far as it protects against one view.

    Full batches are released in at most ten steps instead of the agreed number, with less noise in each, so that they
    cost the same: only the sum of Gaussian releases of one vector tells anything about it.

    Raises:
        PrivacyError: the terms have no privacy.
    """
    privacy, training = terms.privacy, terms.training
    if privacy.clip_norm is None or privacy.noise_multiplier is None:
        raise PrivacyError("the agreement has no privacy", remedy="Attack its updates as they are.")
    shares = {"update": 0, "aggregate": terms.honest_holders, "one_share": 1}[view]
    steps = training.rounds * training.local_steps
    taken = min(steps, _MOST_STEPS) if training.sampling_rate == 1 else steps
    return Mechanism(
        clip_norm=privacy.clip_norm,
        noise_multiplier=privacy.noise_multiplier * math.sqrt(taken / steps),
        sampling_rate=training.sampling_rate,
        rounds=taken if shares else 1,
        local_steps=1 if shares else taken,
        shares=shares,
    )


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """A way to break a mechanism on purpose."""

    name: Protection
    broken: Callable[[Mechanism], Mechanism]


def _without_clipping(mechanism: Mechanism) -> Mechanism:
    """The same noise in absolute terms, and a bound that no canary reaches."""
    return dataclasses.replace(
        mechanism,
        clip_norm=mechanism.clip_norm * _LENGTH,
        noise_multiplier=mechanism.noise_multiplier / _LENGTH,
    )


#: As little noise as the mechanisms can be made with: a thousandth of the clip norm.
BREAKAGES = (
    Breakage(name="noise off", broken=lambda one: dataclasses.replace(one, noise_multiplier=1e-3)),
    Breakage(
        name="noise / 10", broken=lambda one: dataclasses.replace(one, noise_multiplier=one.noise_multiplier / 10)
    ),
    Breakage(name="no clipping", broken=_without_clipping),
)


def plain_updates(clip_norm: float, rounds: int) -> Updates:
    """Mode ``none``: the sums as they are."""

    def run(batch: Batch) -> NDArray[np.float64]:
        return np.asarray(batch.features.sum(axis=0, dtype=np.float64) * rounds * clip_norm)

    return run


def attack(
    updates: Updates, *, clip_norm: float, generator: np.random.Generator, canaries: int = CANARIES
) -> tuple[int, int]:
    """Put canaries into a holder's data, run the mechanism once, and guess.

    Args:
        updates: The mechanism.
        clip_norm: As agreed: canaries are longer than that.
        generator: Of the coins; the noise has a secret source of its own.
        canaries: m.

    Returns:
        How many guesses, fixed by m alone, and how many were right.

    Source:
        Steinke, Nasr, Jagielski 2023, algorithm 1, with Dirac canaries (their section 6, white box).
    """
    guesses = canaries * _GUESSES // CANARIES
    included = generator.random(canaries) < 0.5
    features = np.eye(canaries, dtype=np.float32)[included] * np.float32(_LENGTH * clip_norm)
    scores = updates(Batch(features=features, targets=np.zeros(len(features), dtype=np.float32)))
    # the coins are fair, so as many are called in as out: the surest of both
    order = np.argsort(scores, kind="stable")
    called_out, called_in = order[: guesses // 2], order[-(guesses - guesses // 2) :]
    return guesses, int((~included[called_out]).sum() + included[called_in].sum())


def judged(
    view: View,
    mechanism: Protection,
    *,
    claimed: float | None,
    delta: float,
    found: tuple[int, int],
    canaries: int = CANARIES,
) -> Membership:
    """A finding of :func:`attack`, with the bound it comes to."""
    guesses, correct = found
    bounds = [
        epsilon_lower_bound(delta=delta, canaries=canaries, guesses=guesses, correct=right)
        for right in (correct, guesses)
    ]
    return Membership(
        view=view,
        mechanism=mechanism,
        claimed_epsilon=claimed,
        delta=delta,
        canaries=canaries,
        guesses=guesses,
        correct=correct,
        lower_bound=bounds[0],
        provable_at_most=bounds[1],
    )


def _model(batch: Batch) -> torch.nn.Linear:
    """A start at zero; the noise moves it, and the canaries' gradients stay what they are."""
    with torch.random.fork_rng():  # torch's own start draws from the global generator
        layer = torch.nn.Linear(batch.features.shape[1], 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    return layer


def _uphill(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Minus the output: a step downhill moves the canary's coordinate up, by the same everywhere."""
    return -outputs[:, 0] + 0 * targets
