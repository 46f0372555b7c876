"""The updates of a run in the clear, and the reference records they are valued on: kept where all have consented.

Both stand in the run's folder, so that the record's last event covers them as it covers every other file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from fedjoint.agreement.terms import Terms
from fedjoint.conduct.reference_file import load_tensors, write_reference
from fedjoint.data.records import Examples
from fedjoint.errors import ValuationError
from fedjoint.simulation.exact import UpdateLog

__all__ = ["REFERENCE", "UPDATES", "keep_updates", "read_updates"]

UPDATES, REFERENCE = "updates.safetensors", "reference.safetensors"


def keep_updates(folder: Path, log: UpdateLog, reference: Examples) -> None:
    """Write weighted updates (float64, one tensor for each round and holder) and reference records.

    Args:
        folder: Of the run; the files do not exist yet.
        log: The updates.
        reference: The exchange's reference records, encoded.
    """
    save_file({f"{number}/{holder}": update for number, holder, update in log.items()}, folder / UPDATES)
    write_reference(folder / REFERENCE, reference)


def read_updates(folder: Path, terms: Terms) -> UpdateLog:
    """Read what :func:`keep_updates` wrote.

    Raises:
        ValuationError: the agreement does not allow updates in the clear, or they are missing or malformed.
    """
    if not terms.valuation.keep_updates:
        raise ValuationError(
            "this run's agreement keeps no updates in the clear",
            expected="valuation.keep_updates = true, signed by every holder",
            remedy="Its contributions are those of the ciphertexts; agree on it before a run, under privacy=local.",
        )
    log = UpdateLog()
    for name, update in load_tensors(folder / UPDATES).items():
        number, _, holder = name.partition("/")
        fits = update.dtype == np.float64 and update.shape == (terms.num_parameters,) and np.isfinite(update).all()
        if not (number.isdecimal() and holder in terms.holder_ids and fits):
            raise ValuationError(f"{UPDATES} holds '{name[:80]}', which is no update of this agreement")
        log(holder, int(number), update)
    return log
