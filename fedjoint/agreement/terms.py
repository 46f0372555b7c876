"""What the parties agree to: everything a run may do, as frozen records.

A run may do nothing that is not written here. The terms are identified by the SHA-256 of their canonical JSON
(:mod:`fedjoint.agreement.signing`); each constructor refuses what could never be run.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Literal

from fedjoint.agreement.money_terms import MoneyTerms
from fedjoint.agreement.ranges import in_range
from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.schema import Schema
from fedjoint.agreement.valuation_terms import ValuationTerms
from fedjoint.agreement.weights import most_counted
from fedjoint.errors import InvalidValue
from fedjoint.identity.keys import PublicIdentity
from fedjoint.strict import strict

__all__ = [
    "CONTRIBUTION_NOISES",
    "MAX_HOLDERS",
    "TAILS_OF_DELTA",
    "DataTerms",
    "EncryptionTerms",
    "HolderTerms",
    "ModelTerms",
    "MoneyTerms",
    "PrivacyTerms",
    "Terms",
    "TrainingTerms",
    "ValuationTerms",
]

MAX_HOLDERS = 200
_DATASET = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: The part of delta that mode ``joint`` keeps for noise beyond what the encryption's fixed point can hold.
TAILS_OF_DELTA = 1e-3
#: Coordinates of pure noise that mode ``joint`` adds to an update, for the holder's contribution.
CONTRIBUTION_NOISES = 2


@strict
@dataclass(frozen=True, kw_only=True)
class HolderTerms:
    """One holder and its number of examples, certified or released with noise (public: its weight in the sum).

    An example is one unit of privacy: a record, or a patient with all of its records. ``dataset`` is the id under which
    a pool has registered what it brings; then no run starts that the registration does not allow.
    """

    identity: PublicIdentity
    num_examples: int
    dataset: str | None = None

    def __post_init__(self) -> None:
        in_range(f"num_examples of {self.identity.id}", self.num_examples, 1, 1e9)
        if self.dataset is not None and not _DATASET.fullmatch(self.dataset):
            raise InvalidValue(f"dataset '{self.dataset[:80]}' of {self.identity.id}", expected=_DATASET.pattern)


@strict
@dataclass(frozen=True, kw_only=True)
class DataTerms:
    """Which data: name, schema with its public constants, licence and citation."""

    name: str
    schema: Schema
    licence: str = ""
    citation: str = ""


@strict
@dataclass(frozen=True, kw_only=True)
class ModelTerms:
    """Which model: ``linear`` (logistic, softmax or linear regression by the target's task) or ``mlp``."""

    kind: Literal["linear", "mlp"] = "linear"
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
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
        in_range("training.seed", self.seed, 0, 2**53 - 1)


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


@strict
@dataclass(frozen=True, kw_only=True)
class EncryptionTerms:
    """How updates are encrypted: exact BFV words (TenSEAL's SEAL), N = 4096, one 60-bit prime.

    Args:
        scheme: ``seal`` (both polynomials travel) or ``seeded`` (the second travels as its seed).
        bound: Largest absolute value of a coordinate of a weighted update; a larger one is clipped.
        value_bits: Bits of fixed point for one value, 8 to 24.
        values_per_word: Values in one 64-bit word, 1 to 5; more than one only where contributions are not measured.
    """

    scheme: Literal["seal", "seeded"] = "seal"
    bound: float = 1.0
    value_bits: int = 16
    values_per_word: int = 1

    def __post_init__(self) -> None:
        in_range("encryption.bound", self.bound, 1e-9, 1e6)
        in_range("encryption.value_bits", self.value_bits, 8, 24)
        in_range("encryption.values_per_word", self.values_per_word, 1, 5)


@strict
@dataclass(frozen=True, kw_only=True)
class Terms:
    """The whole agreement of one run."""

    format: Literal["fedjoint-agreement-1"] = "fedjoint-agreement-1"
    title: str
    purpose: str
    coordinator: PublicIdentity
    holders: tuple[HolderTerms, ...]
    data: DataTerms
    model: ModelTerms
    training: TrainingTerms
    privacy: PrivacyTerms
    encryption: EncryptionTerms
    valuation: ValuationTerms
    money: MoneyTerms
    releases: ReleaseTerms = field(default_factory=ReleaseTerms)

    def __post_init__(self) -> None:
        identities = [holder.identity for holder in self.holders] + [self.coordinator]
        in_range("number of holders", len(self.holders), 2, MAX_HOLDERS)
        for name, values in (
            ("id", [i.id for i in identities]),
            ("signing key", [i.signing_key for i in identities]),
            ("sealing key", [i.sealing_key for i in identities]),
        ):
            if len(set(values)) != len(values):
                raise InvalidValue(
                    f"two parties have the same {name}", expected="one legal person, one party, keys of its own"
                )
        datasets = {holder.dataset for holder in self.holders}
        if datasets != {None} and (None in datasets or len(datasets) < len(self.holders)):
            raise InvalidValue(
                "some holders bring a registered dataset", expected="one of its own for each holder, or none for all"
            )
        if self.training.minimum_holders > len(self.holders):
            raise InvalidValue(
                f"training.minimum_holders = {self.training.minimum_holders} and there are {len(self.holders)} holders",
                expected="at most the number of holders",
            )
        most_counted(
            [holder.num_examples for holder in self.holders], self.training.maximum_weight
        )  # refuses too low a cap
        if self.valuation.utility == "soft_auc" and self.data.schema.target.task != "binary":
            raise InvalidValue(
                f"valuation.utility = soft_auc for a {self.data.schema.target.task} target",
                expected="negative_loss: an area under the curve is of two classes",
            )
        if self.encryption.values_per_word > 1 and self.valuation.method != "none":
            raise InvalidValue(
                f"encryption.values_per_word = {self.encryption.values_per_word} and contributions are measured",
                expected="1: a contribution is an inner product, which needs a word for each value",
                remedy="Choose valuation=none, or one value a word.",
            )
        if self.privacy.mode == "joint":
            self._check_joint()
        if self.valuation.keep_updates and self.releases.statistics_noise_multiplier is not None:
            raise InvalidValue(
                "valuation.keep_updates with private statistics", expected="one of both: kept records are as agreed"
            )
        self.valuation.check_guards(
            mode=self.privacy.mode,
            optimizer=self.training.server_optimizer,
            update_norm=self.training.maximum_update_norm,
        )
        self.releases.check(
            self.data.schema,
            mode=self.privacy.mode,
            unit=self.privacy.unit,
            validated_by_holders=self.validated_by_holders,
        )

    def _check_joint(self) -> None:
        if self.valuation.keep_updates:
            raise InvalidValue(
                "valuation.keep_updates in mode joint", expected="false: its shares are to stay encrypted"
            )
        if self.training.maximum_weight < 1:
            raise InvalidValue(
                f"training.maximum_weight = {self.training.maximum_weight:g} and privacy.mode is joint",
                expected="1: a sum of gradients has no weights",
            )
        if self.training.local_steps != 1:
            raise InvalidValue(
                f"training.local_steps = {self.training.local_steps} and privacy.mode is joint",
                expected="1: shares of noise in several local steps do not add up to the stated epsilon",
                remedy="Take more rounds instead, or choose privacy=local.",
            )
        if self.valuation.method == "none":
            raise InvalidValue(
                "valuation.method is none and privacy.mode is joint",
                expected="measured contributions, which the noise of mode joint is sized for",
                remedy="Choose privacy=local, or another valuation.",
            )
        if self.honest_holders < 1:
            raise InvalidValue(
                f"privacy.colluders = {self.privacy.colluders} and training.minimum_holders = "
                f"{self.training.minimum_holders}",
                expected="fewer colluders than the fewest holders of a sum: somebody's noise must remain",
            )

    @property
    def validated_by_holders(self) -> bool:
        """Whether contributions are measured on records that holders keep out of training."""
        return self.valuation.reference == "holders"

    @property
    def honest_holders(self) -> int:
        """In mode ``joint`` the fewest holders of an opened sum whose noise no coalition agreed upon can subtract."""
        return self.training.minimum_holders - (self.privacy.colluders or 0)

    @property
    def quorum(self) -> int:
        """So many of the agreement's holders must confirm that a sum is its round's only one before any opens it.

        Two quorums of n holders have more than ``privacy.colluders`` (0 where none are agreed) in common, so that an
        honest one is among them, who confirms one sum in a round: two sums cannot both have a quorum.
        """
        return (len(self.holders) + (self.privacy.colluders or 0)) // 2 + 1

    def holder(self, holder_id: str) -> HolderTerms:
        """The terms of one holder.

        Raises:
            InvalidValue: no holder of that id is in the agreement.
        """
        for holder in self.holders:
            if holder.identity.id == holder_id:
                return holder
        raise InvalidValue(
            f"'{holder_id}' is no holder of this agreement", expected="one of: " + ", ".join(self.holder_ids)
        )

    @property
    def holder_ids(self) -> tuple[str, ...]:
        """Ids of the holders in the agreement's order."""
        return tuple(holder.identity.id for holder in self.holders)

    @property
    def num_parameters(self) -> int:
        """Number of parameters D of the agreed model."""
        widths = [self.data.schema.width, *self.model.hidden, self.data.schema.target.outputs]
        return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))

    @property
    def num_coordinates(self) -> int:
        """Numbers that a holder encrypts in a round: D, and in mode ``joint`` two more, noise for its contribution.

        Between them zeros fill up what the agreed releases need, where that is more than the model has.
        """
        of_update = self.num_parameters + (CONTRIBUTION_NOISES if self.privacy.mode == "joint" else 0)
        return max(of_update, self.releases.least_coordinates(self.data.schema))

    @property
    def num_examples(self) -> int:
        """Certified examples of all holders."""
        return sum(holder.num_examples for holder in self.holders)

    @property
    def unmeasured_shares(self) -> dict[str, float]:
        """What each holder counts for where contributions are not measured; they sum to 1 but for rounding."""
        if self.valuation.unmeasured == "equal":
            return dict.fromkeys(self.holder_ids, 1 / len(self.holders))
        return {holder: self.weight(holder) for holder in self.holder_ids}

    def weight(self, holder_id: str) -> float:
        """The holder's certified fraction of all examples, none counted beyond the agreed cap, in (0, 1]."""
        sizes = [holder.num_examples for holder in self.holders]
        most = most_counted(sizes, self.training.maximum_weight)
        return min(self.holder(holder_id).num_examples, most) / sum(min(size, most) for size in sizes)
