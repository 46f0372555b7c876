"""The opened sums of audited blocks in a run's folder: written, read, and checked against the record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.signing import SignedAgreement
from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.errors import RecordError
from fedjoint.runs.folder import BLOCKS
from fedjoint.runs.recompute import require_signed
from fedjoint.runs.recorded import OpenedBlock, RecordedRun
from fedjoint.training.aggregate import Levels, sum_bytes
from fedjoint.training.block_messages import block_facts

__all__ = ["blocks_to_bytes", "check_blocks", "read_blocks"]


def blocks_to_bytes(blocks: Mapping[tuple[int, int], Levels]) -> bytes:
    """One tensor for each round and block: the sum in levels of the fixed point."""
    return save({f"{number}/{block}": levels.astype("<u8") for (number, block), levels in sorted(blocks.items())})


def read_blocks(folder: Path, run: RecordedRun, agreement: SignedAgreement) -> dict[tuple[int, int], Levels]:
    """The opened sums of blocks, checked: each is the one that holders signed for.

    Raises:
        RecordError: a sum is missing, changed, of other members than agreed, or was opened by too few.
    """
    if not run.blocks:
        return {}
    try:
        found = load_file(folder / BLOCKS)
    except (OSError, SafetensorError) as problem:
        raise RecordError(f"{BLOCKS} cannot be read: {type(problem).__name__}") from None
    if set(found) != {f"{one.round}/{one.block}" for one in run.blocks} or len(found) != len(run.blocks):
        raise RecordError(f"{BLOCKS} holds other blocks than the record")
    return {
        (one.round, one.block): _checked(found[f"{one.round}/{one.block}"], one, run, agreement) for one in run.blocks
    }


def _checked(levels: Levels, one: OpenedBlock, run: RecordedRun, agreement: SignedAgreement) -> Levels:
    where, terms = f"block {one.block} of round {one.round}", agreement.terms
    agreed = terms.valuation.audit_blocks
    if not (0 <= one.block < len(agreed) and one.contributors == agreed[one.block] and one.round in run.summed):
        raise RecordError(f"{where} is none that was agreed")
    if levels.dtype != np.uint64 or sha256_hex(sum_bytes(levels)) != one.sum_sha256:
        raise RecordError(f"{BLOCKS} holds another sum of {where} than holders signed for")
    for holder, signature in one.opened.items():
        facts = block_facts(one.round, one.block, one.sum_sha256)
        require_signed(agreement, run.run_id, holder, "opened block", facts, signature, f"{where} opened by '{holder}'")
    if len(one.opened) < MINIMUM_OPENERS:
        raise RecordError(f"{where} was opened by {len(one.opened)} holders", expected=f"{MINIMUM_OPENERS}")
    return levels


def check_blocks(folder: Path, run: RecordedRun, agreement: SignedAgreement) -> str:
    """What of audited blocks can be checked, as the end of a sentence; empty where none were agreed.

    Raises:
        RecordError: as :func:`read_blocks`.
    """
    read_blocks(folder, run, agreement)
    if not agreement.terms.valuation.audit_blocks:
        return ""
    return f"; {len(run.blocks)} sums of audited blocks likewise"
