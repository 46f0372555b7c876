"""An audit of contributions by opened sums of blocks: what the members were paid by, valued again in the clear.

The path value is linear: a block's sum is worth what its members are worth together. Its members' numbers came off
ciphertexts, one each; the sums were opened by agreement. Beside it stands the exact Shapley value of the blocks, in
which each block acts as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.signing import read_agreement
from fedjoint.agreement.terms import Terms
from fedjoint.conduct.path_parts import PathParts
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.conduct.reference_file import read_reference
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import RecordError, ValuationError
from fedjoint.record.log import read_record
from fedjoint.runs.blocks import read_blocks
from fedjoint.runs.folder import AGREEMENT, RECORD, SUMS
from fedjoint.runs.recorded import RecordedRun, read_recorded_run
from fedjoint.runs.replay import keeps_sums, replay_sums
from fedjoint.runs.verify import verify_run
from fedjoint.strict import strict
from fedjoint.training.aggregate import Levels, mean_rate
from fedjoint.training.optimizer import ServerState, linear_step
from fedjoint.valuation.estimate import Sampling
from fedjoint.valuation.games import MAX_TABLE_PLAYERS
from fedjoint.valuation.methods import RunGames, value_run
from fedjoint.valuation.round_games import RoundGame

__all__ = ["BlockValue", "value_blocks"]

Vector = npt.NDArray[np.float64]


@strict
@dataclass(frozen=True, kw_only=True)
class BlockValue:
    """One audited block.

    Args:
        members: Ids of its holders.
        rounds: In how many rounds its sum was opened.
        paid_by: What its members were valued at together, off the ciphertexts.
        path: The path value of the opened sums.
        exact: The exact Shapley value of the blocks' game; None where there are too many of them.
        noise_error: Standard error of ``paid_by`` by privacy noise: noise is in the sums too and does not part the two.
    """

    members: tuple[str, ...]
    rounds: int
    paid_by: float
    path: float
    exact: float | None
    noise_error: float

    @property
    def difference(self) -> float:
        """By how much what was paid by differs from what the opened sums are worth."""
        return self.paid_by - self.path


def value_blocks(folder: Path, reference: Path) -> tuple[BlockValue, ...]:
    """Value the opened sums of a finished run's audited blocks.

    Args:
        folder: Of the run; it is verified first.
        reference: The exchange's reference records, as the agreement commits to them.

    Raises:
        RecordError: a check of ``fedjoint verify`` fails.
        ValuationError: no blocks were agreed or opened, the run kept no sums, or the reference records are others.
    """
    failed = [check for check in verify_run(folder) if check.outcome != "passed"]
    if failed:
        raise RecordError(f"{folder} does not verify: {failed[0].name}: {failed[0].detail}")
    agreement = read_agreement((folder / AGREEMENT).read_bytes())
    terms = agreement.terms
    witnesses = {holder.identity.id: holder.identity for holder in terms.holders}
    record = read_record(folder / RECORD, agreement.sha256, terms.coordinator, witnesses=witnesses)
    run = read_recorded_run(record.events, agreement)
    sums = read_blocks(folder, run, agreement)
    if not sums or not keeps_sums(terms):
        raise ValuationError(
            "this run has no opened sums of blocks, or none of its rounds",
            expected="an agreement with valuation.audit_blocks, whose blocks took part",
            remedy="Agree on it before a run, under privacy=local.",
        )
    measured = ReferenceSet.of(read_reference(reference, terms), terms)
    return _valued(terms, run, sums, list(replay_sums(folder / SUMS, run, terms)), measured)


def _valued(
    terms: Terms,
    run: RecordedRun,
    sums: dict[tuple[int, int], Levels],
    states: list[ServerState],
    reference: ReferenceSet,
) -> tuple[BlockValue, ...]:
    blocks = range(len(terms.valuation.audit_blocks))
    parts = PathParts(reference, terms, [str(block) for block in blocks])
    path, games, remembered = dict.fromkeys(blocks, 0.0), [], dict[int, Vector]()
    for number, (before, after) in enumerate(pairwise(states), start=1):
        step = linear_step(after, terms.training)
        remembered = {block: step.decay * one for block, one in remembered.items() if step.decay}
        rate = mean_rate(terms, run.contributors[number - 1])
        for block in blocks:
            if (number, block) in sums:
                remembered[block] = remembered.get(block, 0.0) + rate * _update(terms, sums[number, block], block)
        steps = {str(block): step.scale * one for block, one in sorted(remembered.items())}
        if not steps:
            continue
        start, end = before.model.astype(np.float64), after.model.astype(np.float64)
        for name, gain in parts.add_round(start, end, steps).items():
            path[int(name)] += gain
        updates = np.stack(list(steps.values()))
        measure = reference.of_coalitions()
        games.append(RoundGame(players=tuple(steps), before=start, updates=updates, reference=measure))
    exact = None
    if len(blocks) <= MAX_TABLE_PLAYERS:
        names = tuple(map(str, blocks))
        exact = value_run("shapley", RunGames(players=names, as_run=tuple(games)), Sampling()).by_player()
    return tuple(
        BlockValue(
            members=terms.valuation.audit_blocks[block],
            rounds=sum((number, block) in sums for number in range(1, len(states))),
            paid_by=sum(run.contributions[holder] for holder in terms.valuation.audit_blocks[block]),
            path=path[block],
            exact=None if exact is None else exact[str(block)],
            noise_error=float(np.hypot.reduce([run.errors.noise[h] for h in terms.valuation.audit_blocks[block]])),
        )
        for block in blocks
    )


def _update(terms: Terms, levels: Levels, block: int) -> Vector:
    found = dequantise_sum(levels, len(terms.valuation.audit_blocks[block]), agreed_parameters(terms))
    return np.asarray(found[: terms.num_parameters], dtype=np.float64)
