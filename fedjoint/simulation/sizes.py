"""How many examples each simulated holder says it has: a count with noise, unless sizes are public constants."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from fedjoint.conduct.releasing import sizes_noise
from fedjoint.config import PrivacyConfig
from fedjoint.data.division import Division, HolderRecords
from fedjoint.privacy.ledger_file import LifetimeLedger
from fedjoint.privacy.noise import NoiseSource
from fedjoint.training.size_release import ReleasedSize, load_size, release_size, save_size

__all__ = ["released_sizes"]


def released_sizes(
    privacy: PrivacyConfig, division: Division, *, ledgers: Mapping[str, LifetimeLedger] | None = None
) -> Mapping[str, ReleasedSize]:
    """Have each holder count its examples with noise; none where sizes are public constants.

    Args:
        privacy: Gives noise and unit.
        division: Whose records are whose.
        ledgers: Of holders with a lifetime budget: charged before anything is counted. What was counted is kept in
            ``NAME.size.json`` beside the ledger, and told again in later runs, at no cost.

    Raises:
        BudgetExhausted: nothing is left of a lifetime budget for it.
        PrivacyError: a file refuses.
    """
    noise_multiplier = sizes_noise(privacy)
    if noise_multiplier is None:
        return {}
    return {
        records.id: _size(records, privacy, noise_multiplier, ledger=(ledgers or {}).get(records.id))
        for records in division.holders
    }


def _size(
    records: HolderRecords, privacy: PrivacyConfig, noise_multiplier: float, *, ledger: LifetimeLedger | None
) -> ReleasedSize:
    kept = None if ledger is None else ledger.path.with_suffix(".size.json")
    before = None if kept is None else load_size(kept)
    if before is not None and (before.unit, before.noise_multiplier) == (privacy.unit, noise_multiplier):
        return before
    seed = privacy.insecure_seed
    size = release_size(
        records.examples,
        privacy.unit,
        noise_multiplier=noise_multiplier,
        noise=NoiseSource.secure() if seed is None else NoiseSource.insecure(seed, f"{records.id}/size"),
        lifetime=ledger,
        name=f"size {secrets.token_hex(8)}",
    )
    if kept is not None:
        save_size(kept, size)
    return size
