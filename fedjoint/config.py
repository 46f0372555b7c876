"""Configuration: Hydra composes YAML groups and overrides, one strict builder makes frozen records of them.

Hydra is asked only to compose; whatever it would let pass silently (an unknown key, a string for a number) is refused
by :func:`fedjoint.strict.build`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fedjoint.agreement.terms import ModelTerms
from fedjoint.data.datasets.load import DataOptions
from fedjoint.errors import ConfigError
from fedjoint.strict import build, strict

__all__ = [
    "EncryptionConfig",
    "MoneyConfig",
    "PrivacyConfig",
    "RunConfig",
    "SimulationConfig",
    "TrainingConfig",
    "ValuationConfig",
    "load_config",
]


@strict
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where the run folder stands: ``<folder>/<name>``; a missing name is made up."""

    name: str | None = None
    folder: str = "runs"


@strict
@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """As :class:`fedjoint.agreement.terms.TrainingTerms`; the seed is the configuration's own."""

    rounds: int
    local_steps: int
    sampling_rate: float
    learning_rate: float
    server_learning_rate: float
    minimum_holders: int


@strict
@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """As :class:`fedjoint.agreement.terms.PrivacyTerms`; a missing noise multiplier is calibrated to epsilon."""

    mode: Literal["local", "none"]
    epsilon: float | None = None
    delta: float | None = None
    clip_norm: float | None = None
    noise_multiplier: float | None = None
    insecure_seed: int | None = None


@strict
@dataclass(frozen=True, kw_only=True)
class EncryptionConfig:
    """As :class:`fedjoint.agreement.terms.EncryptionTerms`; a missing bound is derived."""

    scheme: Literal["seal", "seeded"]
    bound: float | None = None
    value_bits: int = 16


@strict
@dataclass(frozen=True, kw_only=True)
class ValuationConfig:
    """As :class:`fedjoint.agreement.terms.ValuationTerms`."""

    method: Literal["aumann_shapley"]
    utility: Literal["negative_loss"]
    quadrature_points: int


@strict
@dataclass(frozen=True, kw_only=True)
class MoneyConfig:
    """As :class:`fedjoint.agreement.terms.MoneyTerms`, and one revenue event in major units ("1000000.00")."""

    currency: str
    revenue: str
    exchange_fee_bp: int
    reserve_premium_bp: int


@strict
@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """All of a simulation; see ``configs/`` for the defaults and what each line means."""

    title: str
    purpose: str
    seed: int
    run: RunConfig
    data: DataOptions
    model: ModelTerms
    training: TrainingConfig
    privacy: PrivacyConfig
    encryption: EncryptionConfig
    valuation: ValuationConfig
    money: MoneyConfig


def load_config(overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> SimulationConfig:
    """Compose the configuration of a simulation.

    Args:
        overrides: Hydra overrides, such as ``privacy=none`` and ``training.rounds=5``.
        config_dir: A folder of YAML groups; None: the ones that ship with fedjoint.

    Raises:
        ConfigError: an override is malformed, names an unknown key, group or option (with the nearest valid one), or
            gives a value of the wrong type.

    Example:
        >>> load_config(["privacy=none", "training.rounds=5"]).training.rounds
        5
    """
    folder = config_dir or _shipped()
    composed = _compose(folder, _parse(overrides), list(overrides))
    return build(SimulationConfig, OmegaConf.to_container(composed, resolve=True), error=ConfigError)


def _shipped() -> Path:
    """The folder of configurations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "simulate.yaml").is_file():
            return folder
    raise ConfigError("fedjoint's configs folder is missing", remedy="Install fedjoint again.")


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException:
        wrong = next((text for text in overrides if "=" not in text), overrides[0] if len(overrides) == 1 else None)
        raise ConfigError(
            f"'{wrong}' is no override" if wrong else f"one of {list(overrides)} is no override",
            expected="key=value, such as privacy=none or training.rounds=5",
        ) from None
    for override in parsed:
        if override.is_sweep_override():
            raise ConfigError(
                f"'{override.input_line}' is a sweep", expected="one value", remedy="Run once for each value."
            )
    return parsed


def _compose(folder: Path, parsed: list[Override], overrides: list[str]) -> DictConfig:
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
        groups = {
            path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in folder.iterdir() if path.is_dir()
        }
        chosen = [override for override in parsed if override.key_or_group in groups]
        for override in chosen:
            options = groups[override.key_or_group]
            if override.value() not in options:
                raise _unknown("option", f"{override.key_or_group}={override.value()}", str(override.value()), options)
        known = compose("simulate", overrides=[str(override.input_line) for override in chosen])
        keys = [*groups, *_keys(known)]
        for override in parsed:
            name = override.key_or_group.lstrip("+~")
            if override not in chosen and (name not in keys or override.is_add() or override.is_delete()):
                raise _unknown("key", str(override.input_line), name, keys)
        try:
            return compose("simulate", overrides=overrides)
        except (HydraException, OmegaConfBaseException) as problem:
            raise ConfigError(f"the configuration does not fit together: {str(problem).splitlines()[0]}") from None


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, DictConfig):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _unknown(what: str, text: str, name: str, valid: Sequence[str]) -> ConfigError:
    nearest = difflib.get_close_matches(name, valid, 1, 0.5)
    others: Any = nearest[0] if nearest else "one of: " + ", ".join(sorted(valid))
    return ConfigError(
        f"unknown {what} in '{text}'", remedy=f"Did you mean '{others}'?" if nearest else f"Choose {others}."
    )
