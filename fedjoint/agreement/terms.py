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
from fedjoint.agreement.privacy_terms import TAILS_OF_DELTA, PrivacyTerms
from fedjoint.agreement.ranges import MAX_HOLDERS, in_range
from fedjoint.agreement.release_terms import MAX_RELEASED_VALUES, ReleaseTerms
from fedjoint.agreement.schema import Schema
from fedjoint.agreement.training_terms import ModelTerms, TrainingTerms
from fedjoint.agreement.valuation_terms import ERROR_BITS, UNCLIPPED_ERROR_BITS, ValuationTerms, most_error_numbers
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
    "num_parameters_of",
]

_DATASET = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: Coordinates of pure noise that mode ``joint`` adds to an update, for each number opened of the holder.
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
        only_for = {"soft_auc": "binary", "cox": "survival"}.get(self.valuation.utility, self.data.schema.target.task)
        if self.data.schema.target.task != only_for:
            raise InvalidValue(
                f"valuation.utility = {self.valuation.utility} for a {self.data.schema.target.task} target",
                expected=f"negative_loss: it has a meaning for a {only_for} target only",
            )
        if self.encryption.values_per_word > 1 and self.valuation.method != "none":
            raise InvalidValue(
                f"encryption.values_per_word = {self.encryption.values_per_word} and contributions are measured",
                expected="1: a contribution is an inner product, which needs a word for each value",
                remedy="Choose valuation=none, or one value a word.",
            )
        self._check_errors()
        if self.training.holders_per_round is not None:
            self._check_sampled(self.training.holders_per_round)
        if self.privacy.mode == "joint":
            self._check_joint()
        if self.valuation.audit_blocks:
            self._check_blocks()
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
        if self.validated_by_holders and self.num_parameters > MAX_RELEASED_VALUES:
            raise InvalidValue(
                f"valuation.reference is holders and the model has {self.num_parameters} parameters",
                expected=f"at most {MAX_RELEASED_VALUES}",
                remedy="Measure contributions on the exchange's own records: valuation.reference=exchange.",
            )

    def _check_blocks(self) -> None:
        strangers = {holder for block in self.valuation.audit_blocks for holder in block} - set(self.holder_ids)
        if strangers:
            raise InvalidValue(
                f"'{min(strangers)}' in valuation.audit_blocks", expected="one of: " + ", ".join(self.holder_ids)
            )
        if self.privacy.mode != "local":
            raise InvalidValue(
                f"valuation.audit_blocks in mode {self.privacy.mode}",
                expected="local: every update carries noise enough of its own",
            )

    def _check_sampled(self, count: int) -> None:
        if count > len(self.holders):
            raise InvalidValue(
                f"training.holders_per_round = {count} and there are {len(self.holders)} holders",
                expected="at most the number of holders",
            )
        if self.privacy.mode == "joint" or self.validated_by_holders:
            what = "privacy.mode is joint" if self.privacy.mode == "joint" else "valuation.reference is holders"
            raise InvalidValue(
                f"training.holders_per_round = {count} and {what}",
                expected="every holder in every round: each has a part in its noise or its reference",
            )

    def _check_errors(self) -> None:
        numbers = self.valuation.error_numbers
        if numbers and numbers > most_error_numbers(self.num_parameters):
            raise InvalidValue(
                f"valuation.error_numbers = {numbers} and a model of {self.num_parameters} parameters",
                expected=f"at most {most_error_numbers(self.num_parameters)}: with the contribution fewer numbers of a "
                "holder than an update has, from which it could be solved",
                remedy="Lower valuation.error_numbers, or take a larger model.",
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
        return num_parameters_of(self.model, self.data.schema)

    @property
    def contribution_noises(self) -> int:
        """How many of an update's last coordinates are noise: for its contribution and the numbers for its error."""
        return CONTRIBUTION_NOISES * (1 + self.valuation.error_numbers) if self.privacy.mode == "joint" else 0

    @property
    def error_bits(self) -> int:
        """To how many bits each number for an error is opened: more where no clip norm says how large it can be."""
        return ERROR_BITS if self.privacy.clip_norm is not None else UNCLIPPED_ERROR_BITS

    @property
    def num_coordinates(self) -> int:
        """Numbers that a holder encrypts in a round: D, and in mode ``joint`` noise for what is opened of it alone.

        Between them zeros fill up what the agreed releases need, where that is more than the model has.
        """
        of_update = self.num_parameters + self.contribution_noises
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


def num_parameters_of(model: ModelTerms, schema: Schema) -> int:
    """Number of parameters D of a model on records of a schema."""
    if model.code_parameters is not None:
        return model.code_parameters
    widths = [schema.width, *model.hidden, schema.target.outputs]
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(widths))
