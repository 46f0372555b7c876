"""Contributions in a run: path gradients folded into ciphertexts, opened by two holders at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.terms import Terms
from fedjoint.encryption.ciphertext import Ciphertext
from fedjoint.encryption.opened import CANARY
from fedjoint.encryption.scratch import Scratch, pieces
from fedjoint.errors import TrainingError
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.update_noise import longest_projection, update_noise_sd
from fedjoint.strict import build, plain, strict
from fedjoint.training.aggregate import Model, ServerState, mean_rate
from fedjoint.training.checkpoint import Piece
from fedjoint.training.contribution_openers import ContributionOpeners, agreed_values
from fedjoint.training.coordinator_state import CoordinatorMemory
from fedjoint.training.guarded import GuardedPath, SavedGuards
from fedjoint.training.optimizer import linear_step
from fedjoint.training.path_gradients import (
    AskHolders,
    ExchangeGradients,
    HolderGradients,
    PathGradients,
    Reference,
    SavedNoise,
)
from fedjoint.training.plan import ContributionsReply
from fedjoint.training.session import Session
from fedjoint.valuation.encrypted import EncryptedContributions, OpenedContribution, contribution_of
from fedjoint.valuation.encrypted_errors import EncryptedErrors, ErrorNoise, OpenedError, sampling_of
from fedjoint.valuation.record_groups import RecordGroups
from fedjoint.valuation.saved import SavedContributions
from fedjoint.valuation.steps import Carried, CarriedWeights

__all__ = ["Contributions", "PathValuation", "UnmeasuredValuation", "Valuation", "record_groups", "valuation_of"]

Vector = npt.NDArray[np.float64]

#: Beside the agreement's seed, sets the draw of groups of reference records apart from all others.
_GROUPS_STREAM = 3
#: The same for the rounding of contrasts.
_ROUNDING_STREAM = 4


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """What the holders' updates added, in units of the utility, or where that is not measured what they count for.

    Args:
        by_holder: A number for each holder of the agreement; 0 for one that never contributed.
        noise_errors: Holder to the standard error of its contribution by privacy noise.
        numbers_opened: How many numbers of each holder left encryption (1 unless gradients grew a lot).
        openers: The holders that opened them alike.
        gains: By how much the utility rose in each round, by its gradient along the round's path; empty where it was
            not measured.
        known: What of that was gained along the direction of the round before, if the agreement shares it by size.
        novel: How long the gradient was that holders were valued by, then (:mod:`fedjoint.training.guarded`).
        sampling: Covariances by the choice of the exchange's reference records, one row for each holder in the
            agreement's order; None if no numbers for them were agreed, or could be opened.
        sampling_bounds: Holder to the most that the choice of the holders' own reference records can make its standard
            error, by public constants; None if nothing bounds it.
    """

    by_holder: Mapping[str, float]
    noise_errors: Mapping[str, float]
    numbers_opened: int
    openers: tuple[str, ...]
    gains: tuple[float, ...] = ()
    known: tuple[float, ...] = ()
    novel: tuple[float, ...] = ()
    sampling: tuple[tuple[float, ...], ...] | None = None
    sampling_bounds: Mapping[str, float] | None = None


class Valuation(Protocol):
    """Values a run's updates as the agreement says."""

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Account for a round whose sum is known."""
        ...

    def saved(self) -> tuple[object, Mapping[str, Piece | Ciphertext]]:
        """What :meth:`restore` needs: facts that :func:`fedjoint.strict.plain` knows, and blobs by label."""
        ...

    def restore(self, memory: CoordinatorMemory) -> None:
        """Go on from what is kept, if anything is."""
        ...

    def open(self, openers: ContributionOpeners) -> Contributions:
        """Have the contributions opened, and write them to the run record."""
        ...


class UnmeasuredValuation:
    """No valuation: nothing is folded or opened, and holders count for what the agreement says.

    Args:
        session: The run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Do nothing."""

    def saved(self) -> tuple[object, Mapping[str, Piece | Ciphertext]]:
        """Nothing."""
        return {}, {}

    def restore(self, memory: CoordinatorMemory) -> None:
        """Do nothing."""

    def open(self, openers: ContributionOpeners) -> Contributions:
        """Ask nobody; write down the agreed shares."""
        shares = self._session.terms.unmeasured_shares
        contributions = Contributions(
            by_holder=shares, noise_errors=dict.fromkeys(shares, 0.0), numbers_opened=0, openers=()
        )
        openers.log("contributions.opened", _facts((), (), contributions, {}))
        return contributions


def valuation_of(session: Session, reference: Reference, *, ask: AskHolders, scratch: Scratch) -> Valuation:
    """The agreed valuation of a run.

    Args:
        session: The run.
        reference: The exchange's reference set; not looked at where the agreement measures on holders' records.
        ask: Has the holders' gradient along a round's path released and opened; called only where that is agreed.
        scratch: Where vectors as long as the model are kept.
    """
    terms = session.terms
    if terms.valuation.method == "none":
        return UnmeasuredValuation(session)
    if terms.validated_by_holders:
        return PathValuation(session, HolderGradients(terms, ask), scratch)
    gradients = ExchangeGradients(
        reference, points=terms.valuation.quadrature_points, groups=record_groups(terms), scratch=scratch
    )
    return PathValuation(session, gradients, scratch)


def record_groups(terms: Terms) -> RecordGroups | None:
    """The groups of reference records that an agreement's numbers for errors contrast; None if there are none."""
    records, numbers = terms.valuation.reference_num_examples, terms.valuation.error_numbers
    if not numbers or records is None:
        return None
    return RecordGroups.drawn(records, error_numbers=numbers, seed=[terms.training.seed, _GROUPS_STREAM])


@strict
@dataclass(frozen=True, kw_only=True)
class _SavedRound:
    holders: tuple[str, ...]
    remembered: float


@strict
@dataclass(frozen=True, kw_only=True)
class _Saved:
    numbers: SavedContributions
    noise: SavedNoise
    gains: tuple[float, ...]
    guards: SavedGuards
    left: bool
    carried: tuple[_SavedRound, ...]


class PathValuation:
    """The Aumann-Shapley valuation of a run, round by round.

    Args:
        session: The run.
        gradients: Gives the utility's gradient along each round's path.
        scratch: Where vectors as long as the model are kept.
    """

    def __init__(self, session: Session, gradients: PathGradients, scratch: Scratch) -> None:
        self._session, self._gradients, self._scratch = session, gradients, scratch
        self._gains: list[float] = []
        self._guards = GuardedPath(session.terms, scratch)
        self._plan = JointPlan.of(session.terms) if session.terms.privacy.mode == "joint" else None
        self._encrypted = EncryptedContributions(
            session.parameters,
            noise_weight=self._plan.largest_weight_norm if self._plan else None,
            errors=_encrypted_errors(session, self._plan, scratch),
            scratch=scratch,
        )
        self._carried = CarriedWeights[Mapping[str, Ciphertext]](scratch=scratch)
        numbers = range(session.terms.valuation.error_numbers)
        self._contrasts = [CarriedWeights[None](scratch=scratch) for _ in numbers]
        self._longest = {holder: longest_projection(session.terms, holder) for holder in session.terms.holder_ids}

    def saved(self) -> tuple[object, Mapping[str, Piece | Ciphertext]]:
        """The numbers that add up, and the rounds that later ones still change the weights of."""
        numbers, polynomials = self._encrypted.saved()
        carried, (guards, last_step) = self._carried.carried, self._guards.saved()
        facts = _Saved(
            numbers=numbers,
            noise=self._gradients.saved(),
            gains=tuple(self._gains),
            guards=guards,
            left=self._encrypted.left is not None,
            carried=tuple(_SavedRound(holders=tuple(one.item), remembered=one.remembered) for one in carried),
        )
        blobs: dict[str, Piece | Ciphertext] = {f"part.{number}": data for number, data in enumerate(polynomials)}
        blobs["last_step"] = last_step
        if self._encrypted.left is not None:
            blobs["left"] = self._encrypted.left.view(np.uint8)
        for number, one in enumerate(carried):
            blobs[f"weights.{number}"] = one.weights.view(np.uint8)
            blobs |= {f"carried.{number}.{holder}": update for holder, update in one.item.items()}
            for place, contrast in enumerate(self._contrasts):
                blobs[f"contrast.{number}.{place}"] = contrast.carried[number].weights.view(np.uint8)
        return facts, blobs

    def restore(self, memory: CoordinatorMemory) -> None:
        """Go on from what is kept, if anything is.

        Raises:
            TrainingError: it is damaged.
        """
        if not memory.facts.valuation:
            return
        saved = build(_Saved, memory.facts.valuation, error=TrainingError, where="valuation")
        self._gradients.restore(saved.noise)
        self._gains = list(saved.gains)
        self._guards.restore(saved.guards, memory.required("valuation.last_step"))
        if saved.left:
            self._encrypted.left = np.frombuffer(memory.required("valuation.left"), "<f8")
        parts = range(len(saved.numbers.parts) + len(self._contrasts))
        self._encrypted.restore(saved.numbers, [bytes(memory.required(f"valuation.part.{number}")) for number in parts])
        kept = [
            Carried[Mapping[str, Ciphertext]](
                item={holder: memory.ciphertext(f"valuation.carried.{number}.{holder}") for holder in one.holders},
                weights=self._own(np.frombuffer(memory.required(f"valuation.weights.{number}"), "<f8")),
                remembered=one.remembered,
            )
            for number, one in enumerate(saved.carried)
        ]
        self._carried = CarriedWeights(kept, scratch=self._scratch)
        self._contrasts = [
            CarriedWeights(
                [
                    Carried[None](
                        item=None,
                        weights=self._own(
                            np.frombuffer(memory.required(f"valuation.contrast.{number}.{place}"), "<f8")
                        ),
                        remembered=one.remembered,
                    )
                    for number, one in enumerate(saved.carried)
                ],
                scratch=self._scratch,
            )
            for place in range(len(self._contrasts))
        ]

    def _own(self, kept: Vector) -> Vector:
        """A copy that may change."""
        weights = self._scratch.array("<f8", kept.size)
        for piece in pieces(kept.size, kept, weights):
            weights[piece] = kept[piece]
        return weights

    def add_round(self, updates: Mapping[str, Ciphertext], before: ServerState, after: ServerState) -> None:
        """Credit a round's updates with what they move along its path, and earlier ones with what is left of them."""
        terms = self._session.terms
        gradient = self._gradients.of_round(len(self._gains) + 1, before, after)
        self._gains.append(_gain(gradient, before.model, after.model))
        contrasts = self._gradients.errors_of_round(before, after)
        gradient = self._guards.add_round(gradient, list(updates), before, after)
        self._gradients.take_part(sorted(updates), after)
        step = linear_step(after, terms.training, scratch=self._scratch)
        also = [carried.add_round(None, row, step) for carried, row in zip(self._contrasts, contrasts, strict=True)]
        self._fold(self._carried.add_round(updates, gradient, step), also)

    def _fold(
        self, final: Iterable[tuple[Mapping[str, Ciphertext], Vector]], also: Sequence[Iterable[tuple[None, Vector]]]
    ) -> None:
        """Fold what is final into the numbers; the contrasts' weights are final when the gradient's are."""
        for (updates, weights), *contrasts in zip(final, *also, strict=True):
            self._encrypted.add_round(
                updates,
                weights,
                rate=mean_rate(self._session.terms, updates),
                contrasts=[contrast for _, contrast in contrasts],
                longest=self._longest,
            )

    def open(self, openers: ContributionOpeners) -> Contributions:
        """Have holders decrypt the masked numbers, compare, and take the masks off.

        Raises:
            ValuationError: too few holders confirmed or opened them, or two opened them differently.
        """
        self._fold(self._carried.rest(), [carried.rest() for carried in self._contrasts])
        memory = openers.memory
        masked = self._encrypted.masked(again=memory.lasts)
        memory.stage_valuation(*self.saved())  # the masks, before anybody is asked
        memory.commit()
        replies = openers.open(masked)
        opened, errors = self._encrypted.opened(masked, agreed_values(replies))
        contributions = self._contributions(opened, errors, tuple(sorted(replies)))
        openers.log("contributions.opened", _facts(opened, errors, contributions, replies))
        return contributions

    def _contributions(
        self, opened: Sequence[OpenedContribution], errors: Sequence[OpenedError], openers: tuple[str, ...]
    ) -> Contributions:
        modulus = self._session.parameters.plain_modulus
        valued = {
            holder: contribution_of([part for part in opened if part.holder == holder], plain_modulus=modulus)
            for holder in self._session.terms.holder_ids
        }
        return Contributions(
            by_holder=self._guards.applied(valued),
            noise_errors={holder: self._noise_error(holder) for holder in valued},
            gains=tuple(self._gains),
            known=tuple(self._guards.known),
            novel=tuple(self._guards.novel),
            numbers_opened=self._encrypted.num_parts,
            openers=openers,
            sampling=sampling_of(self._session.terms, errors, took_part={part.holder for part in opened} - {CANARY}),
            sampling_bounds=self._sampling_bounds(),
        )

    def _sampling_bounds(self) -> dict[str, float] | None:
        found = {holder: self._gradients.sampling_bound(holder) for holder in self._session.terms.holder_ids}
        known = {holder: bound for holder, bound in found.items() if bound is not None}
        return known if len(known) == len(found) else None

    def _noise_error(self, holder: str) -> float:
        of_updates = self._encrypted.noise_error(
            holder,
            update_sd=update_noise_sd(self._session.terms, holder) / self._session.parameters.step,
            noise_sd=self._plan.contribution_sd if self._plan else 0.0,
        )
        return math.hypot(of_updates, self._gradients.noise_error(holder))


def _gain(gradient: Vector, before: Model, after: Model) -> float:
    """The inner product of a gradient with a step."""
    found = pieces(gradient.size, gradient, before, after)
    return sum(float(gradient[piece] @ (after[piece].astype(np.float64) - before[piece])) for piece in found)


def _encrypted_errors(session: Session, plan: JointPlan | None, scratch: Scratch) -> EncryptedErrors:
    """The agreed numbers for errors, blurred as contributions are."""
    noise = None
    if plan is not None:
        noise = ErrorNoise(
            largest_norm=plan.largest_error_norm, weigh=plan.error_noise_weight, sd=float(plan.contribution_sd)
        )
    numbers, bits = session.terms.valuation.error_numbers, session.terms.error_bits
    rounding = (session.terms.training.seed, _ROUNDING_STREAM)
    return EncryptedErrors(
        session.parameters, numbers=numbers, bits=bits, noise=noise, rounding=rounding, scratch=scratch
    )


def _facts(
    opened: Sequence[OpenedContribution],
    errors: Sequence[OpenedError],
    contributions: Contributions,
    replies: Mapping[str, ContributionsReply],
) -> dict[str, object]:
    return {
        "parts": [
            {
                "holder": part.holder,
                "part": part.part,
                "opened": str(part.opened),
                "mask": str(part.mask),
                "factor": part.factor,
            }
            for part in opened
        ],
        "errors": [plain(error) for error in errors],
        "openers": {holder: reply.signature for holder, reply in sorted(replies.items())},
        "contributions": dict(contributions.by_holder),
        "noise_errors": dict(contributions.noise_errors),
        "gains": list(contributions.gains),
        "known": list(contributions.known),
        "novel": list(contributions.novel),
        "sampling_bounds": None if contributions.sampling_bounds is None else dict(contributions.sampling_bounds),
    }
