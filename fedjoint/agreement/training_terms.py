"""What an agreement says of the model and of how it is trained."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fedjoint.agreement.ranges import MAX_HOLDERS, in_range
from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["MAX_CODE_PARAMETERS", "ModelTerms", "TrainingTerms"]

MAX_CODE_PARAMETERS = 2**31
_SHA256 = re.compile(r"[0-9a-f]{64}")


@strict
@dataclass(frozen=True, kw_only=True)
class ModelTerms:
    """Which model.

    Args:
        kind: ``linear`` (logistic, softmax or linear regression by the target's task), ``mlp``, or ``code``: a file
            that every party has and approved, :mod:`fedjoint.models.code`.
        hidden: Widths of an mlp's hidden layers.
        code_sha256: Of the file; for ``code`` only.
        code_parameters: How many numbers the module that it makes has; for ``code`` only.
    """

    kind: Literal["linear", "mlp", "code"] = "linear"
    hidden: tuple[int, ...] = ()
    code_sha256: str | None = None
    code_parameters: int | None = None

    def __post_init__(self) -> None:
        if (self.kind == "code") != (self.code_sha256 is not None) or (self.kind == "code") != (
            self.code_parameters is not None
        ):
            raise InvalidValue(
                f"model.code_sha256 and model.code_parameters for kind '{self.kind}'",
                expected="both for code, neither for others",
            )
        if self.code_sha256 is not None and not _SHA256.fullmatch(self.code_sha256):
            raise InvalidValue(f"model.code_sha256 = '{self.code_sha256[:80]}'", expected="64 hex digits")
        if self.code_parameters is not None:
            in_range("model.code_parameters", self.code_parameters, 1, MAX_CODE_PARAMETERS)
        if (self.kind == "mlp") != bool(self.hidden):
            raise InvalidValue(
                f"model.hidden = {list(self.hidden)} for kind '{self.kind}'", expected="widths for mlp, none for linear"
            )
        for width in self.hidden:
            in_range("model.hidden", width, 1, 4096)


@strict
@dataclass(frozen=True, kw_only=True)
class TrainingTerms:
    """How the model is trained: federated averaging of clipped updates.

    Args:
        rounds: 1 to 10,000.
        local_steps: Gradient steps of a holder in a round.
        sampling_rate: Probability with which each record takes part in a step (Poisson); 1: full batch.
        learning_rate: Of the holders' SGD, in units of the mean gradient; in mode ``joint`` of the mean clipped
            gradient over the clip norm, which is at most 1 long.
        server_learning_rate: Multiplies what the server's optimiser makes of the averaged update.
        server_optimizer: ``sgd``, ``momentum`` (Polyak) or ``adam`` (FedOpt), fed with each round's averaged update.
        server_momentum: In [0, 1): what ``momentum`` keeps of its velocity, and ``adam`` of its mean, each round.
        server_beta2: In [0, 1): what ``adam`` keeps of its mean of squares.
        server_tau: ``adam``'s adaptivity: added to the root of the mean of squares, which starts at its square.
        minimum_holders: Below this number of updates a round is not opened and the run ends; at least 2.
        maximum_update_norm: Longer updates are shortened (L2, unweighted); for ``privacy.mode=none`` only; None: never.
        maximum_weight: The most that one holder weighs in the average, however many examples it has: a fraction of all
            weights, at least that of equal weights. 1: certified sizes as they are.
        proximal: FedProx: how strongly local steps are pulled back to the round's model: times the distance, added to
            the mean gradient; 0: FedAvg.
        holders_per_round: So many holders, drawn anew for each round by the seed, are asked for an update; None: all.
        seed: Of the model's start and, without privacy, of the sampling.
    """

    rounds: int = 20
    local_steps: int = 1
    sampling_rate: float = 1.0
    learning_rate: float = 0.5
    server_learning_rate: float = 1.0
    server_optimizer: Literal["sgd", "momentum", "adam"] = "sgd"
    server_momentum: float = 0.9
    server_beta2: float = 0.99
    server_tau: float = 1e-3
    minimum_holders: int = 2
    maximum_update_norm: float | None = None
    maximum_weight: float = 1.0
    proximal: float = 0.0
    holders_per_round: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        in_range("training.rounds", self.rounds, 1, 10_000)
        in_range("training.local_steps", self.local_steps, 1, 10_000)
        in_range("training.sampling_rate", self.sampling_rate, 1e-6, 1)
        in_range("training.learning_rate", self.learning_rate, 1e-9, 1e3)
        in_range("training.server_learning_rate", self.server_learning_rate, 1e-9, 1e3)
        in_range("training.server_momentum", self.server_momentum, 0, 1 - 1e-6)
        in_range("training.server_beta2", self.server_beta2, 0, 1 - 1e-6)
        in_range("training.server_tau", self.server_tau, 1e-9, 1e3)
        in_range("training.minimum_holders", self.minimum_holders, 2, MAX_HOLDERS)
        if self.maximum_update_norm is not None:
            in_range("training.maximum_update_norm", self.maximum_update_norm, 1e-9, 1e9)
        in_range("training.maximum_weight", self.maximum_weight, 1 / MAX_HOLDERS, 1)
        in_range(
            "training.proximal", self.proximal, 0, 1 / self.learning_rate
        )  # further back than the start is a mistake
        if self.proximal and self.local_steps == 1:
            raise InvalidValue(
                f"training.proximal = {self.proximal:g} and training.local_steps = 1",
                expected="more local steps: the first one starts where it is pulled to",
            )
        if self.holders_per_round is not None:
            in_range("training.holders_per_round", self.holders_per_round, self.minimum_holders, MAX_HOLDERS)
        in_range("training.seed", self.seed, 0, 2**53 - 1)
