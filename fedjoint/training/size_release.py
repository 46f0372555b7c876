"""The number of a holder's examples, as its agreements may state it: with noise, and charged before it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.agreement.release_terms import SMALL_CELL
from fedjoint.data.records import Examples
from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.files import replace_file
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.lifetime_account import Unit
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.noisy_sums import noisy_sums
from fedjoint.privacy.releases import size_release
from fedjoint.privacy.sum_plan import size_plan, stated_size
from fedjoint.settings_file import read_settings
from fedjoint.strict import build, plain, strict
from fedjoint.training.charges import charge_alone

__all__ = ["ReleasedSize", "load_size", "release_size", "save_size"]

_MOST_BYTES = 10**4


@strict
@dataclass(frozen=True, kw_only=True)
class ReleasedSize:
    """What a holder tells of how many examples it has. Told again, in whatever agreement, it costs nothing more.

    Args:
        num_examples: With noise; at least 10, as fewer are not told apart.
        unit: What was counted: records, or patients.
        noise_multiplier: Standard deviation of the noise, in examples.

    Raises:
        InvalidValue: a number so small that it would point at persons.
    """

    num_examples: int
    unit: Unit
    noise_multiplier: float

    def __post_init__(self) -> None:
        if self.num_examples < SMALL_CELL:
            raise InvalidValue(f"num_examples = {self.num_examples}", expected=f"at least {SMALL_CELL}")


def release_size(
    examples: Examples,
    unit: Unit,
    *,
    noise_multiplier: float,
    noise: NoiseSource,
    lifetime: Lifetime | None = None,
    name: str = "",
) -> ReleasedSize:
    """Count a holder's examples with noise.

    Args:
        examples: Its records.
        unit: What one of them is.
        noise_multiplier: Standard deviation, in examples, 1e-6 to 1e6.
        noise: The holder's source.
        lifetime: Charged first, if the holder has one.
        name: Of this release in the lifetime budget, never used before there.

    Raises:
        BudgetExhausted: nothing is left for it; nothing was counted.
        DataError: patients are to be counted, and the holder does not know whose its records are.
        InvalidValue: the noise multiplier is out of range.

    Guarantees:
        Add-or-remove private as one Gaussian release of that multiplier; raising small numbers to 10 comes after the
        noise and tells nothing more.
    """
    release = size_release(noise_multiplier)
    count = np.array([float(examples.num_units(unit))])
    if lifetime is not None:
        charge_alone(lifetime, release, unit=unit, name=name)
    plan = size_plan(noise_multiplier)
    noisy = float(plan.read(noisy_sums(count, plan, noise))[0])
    return ReleasedSize(num_examples=stated_size(noisy), unit=unit, noise_multiplier=noise_multiplier)


def save_size(path: Path, size: ReleasedSize) -> None:
    """Keep what was released, so that the holder can tell it again at no cost; a file there is replaced.

    Args:
        path: ``.json``, beside the holder's other files.
        size: What was released.

    Raises:
        PrivacyError: the file cannot be written.
    """
    try:
        replace_file(path, canonical_bytes(plain(size)), mode=0o600)
    except OSError as problem:
        raise PrivacyError(f"'{path}' cannot be written: {problem.strerror}") from None


def load_size(path: Path) -> ReleasedSize | None:
    """What was released before; None if there is no such file.

    Raises:
        PrivacyError: the file cannot be read, or is not one of :func:`save_size`.
    """
    if not path.exists():
        return None
    value = read_settings(path, most_bytes=_MOST_BYTES, error=PrivacyError, what="released size")
    return build(ReleasedSize, value, error=PrivacyError, where="size")
