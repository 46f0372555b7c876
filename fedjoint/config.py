"""Configuration: Hydra composes YAML groups and overrides, one strict builder makes frozen records of them.

Hydra is asked only to compose; whatever it would let pass silently (an unknown key, a string for a number) is refused
by :func:`fedjoint.strict.build`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
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
from yaml import YAMLError  # type: ignore[import-untyped]

from fedjoint.agreement.release_terms import SIZE_NOISE
from fedjoint.agreement.terms import ModelTerms
from fedjoint.data.datasets.load import DataOptions
from fedjoint.errors import ConfigError, InvalidValue
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

#: A value without any character that means something in Hydra's grammar, but for ``=``.
_PLAIN_TEXT = re.compile(r"[^\[\]{}()'\",\\$\n]+")


@strict
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where the run folder stands: ``<folder>/<name>``; a missing name is made up.

    Args:
        name: Of the run.
        folder: Of all runs.
        budgets: Folder of the holders' lifetime budgets, each made when it is missing; None: runs are not added up.
        policies: Folder of the holders' own policies, each ``HOLDER.yaml``; a holder without one accepts whatever a
            simulation may do, and so do all if None.
        budget_epsilon: Limit of a budget that is made.
        budget_epsilon_if_opened: The same if a holder's own ciphertexts were opened.
        budget_delta: Of both.
        registry: Folder, or database URL, of the pool whose registry must allow the run; None: of no pool.
        datasets: The id of the registered dataset that each holder brings; needed with ``registry``, and only then.
    """

    name: str | None = None
    folder: str = "runs"
    budgets: str | None = None
    policies: str | None = None
    budget_epsilon: float = 8.0
    budget_epsilon_if_opened: float = 24.0
    budget_delta: float = 1e-5
    registry: str | None = None
    datasets: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if (self.registry is None) != (self.datasets is None):
            raise InvalidValue(
                "run.registry without run.datasets, or the other way round",
                expected="both: the pool's registry must allow every dataset that the agreement names",
            )


@strict
@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """As :class:`fedjoint.agreement.terms.TrainingTerms`; the seed is the configuration's own.

    A missing minimum of holders is 2, and in mode ``joint`` three quarters of them, rounded up: noise is sized for it.
    """

    rounds: int
    local_steps: int
    sampling_rate: float
    learning_rate: float
    server_learning_rate: float
    server_optimizer: Literal["sgd", "momentum", "adam"]
    server_momentum: float
    server_beta2: float
    server_tau: float
    minimum_holders: int | None = None
    maximum_weight: float = 1.0
    proximal: float = 0.0
    holders_per_round: int | None = None
    maximum_update_norm: float | None = None


@strict
@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """As :class:`fedjoint.agreement.terms.PrivacyTerms`; missing noise multipliers are calibrated to epsilon.

    Args:
        mode: See there, as for all others.
        epsilon: Of the whole run.
        delta: Of the whole run.
        clip_norm: Of one record's gradient.
        noise_multiplier: Of training.
        colluders: Of mode ``joint``.
        epsilon_if_opened: Of mode ``joint``.
        contributions_noise_multiplier: Of mode ``joint``.
        insecure_seed: Makes the noise reproducible.
        sizes_noise_multiplier: Noise on the number of examples that the agreement states of each holder, in examples,
            charged to epsilon; None, and always in mode ``none``: as it is, a public constant.
        metrics: Whether AUC and accuracy on records that holders keep out of training are released, with noise.
        held_out: Fraction of records kept out for them, and for ``valuation.reference=holders``.
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
    sizes_noise_multiplier: float | None = SIZE_NOISE
    metrics: bool = False
    held_out: float = 0.2


@strict
@dataclass(frozen=True, kw_only=True)
class EncryptionConfig:
    """As :class:`fedjoint.agreement.terms.EncryptionTerms`; a missing bound is derived.

    In mode ``joint`` as many more bits are taken as the noise's grid needs. Missing values a word are one where
    contributions are measured, else as many as leave rounding far below the noise.
    """

    scheme: Literal["seal", "seeded"]
    bound: float | None = None
    value_bits: int = 16
    values_per_word: int | None = None


@strict
@dataclass(frozen=True, kw_only=True)
class ValuationConfig:
    """As :class:`fedjoint.agreement.terms.ValuationTerms`.

    Missing ``error_numbers`` are as many as an exchange needs, and none in a simulation.
    """

    method: Literal["aumann_shapley", "none"]
    utility: Literal["negative_loss", "soft_auc", "cox"]
    reference: Literal["exchange", "holders"] = "exchange"
    quadrature_points: int = 1
    unmeasured: Literal["by_size", "equal"] = "by_size"
    known_path: Literal["valued", "by_size"] = "valued"
    latest_start: int | None = None
    audit_blocks: int = 0
    error_numbers: int | None = None
    keep_updates: bool = False


@strict
@dataclass(frozen=True, kw_only=True)
class MoneyConfig:
    """As :class:`fedjoint.agreement.terms.MoneyTerms`, and one revenue event in major units.

    Hydra reads ``money.revenue=1000000.50`` as a number; :attr:`revenue_text` is what was typed, to 15 digits.
    """

    currency: str
    revenue: str | int | float
    exchange_fee_bp: int
    reserve_premium_bp: int
    materiality: Literal["equal", "by_size", "off"]
    materiality_errors: Literal["all", "noise"]
    materiality_z: float

    @property
    def revenue_text(self) -> str:
        """The revenue as text, for an exact parser: a float's shortest text is what was typed."""
        return str(self.revenue)


@strict
@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model; ``code`` names the file of a model of kind ``code``: whoever names it here approves it."""

    kind: Literal["linear", "mlp", "code"] = "linear"
    hidden: tuple[int, ...] = ()
    code: str | None = None

    def __post_init__(self) -> None:
        if (self.kind == "code") != (self.code is not None):
            raise InvalidValue(
                f"model.code = {self.code} for kind '{self.kind}'", expected="a file for kind code alone"
            )
        if self.kind != "code":
            ModelTerms(kind=self.kind, hidden=self.hidden)  # refuses what no agreement could have


@strict
@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """All of a simulation; see ``configs/`` for the defaults and what each line means."""

    title: str
    purpose: str
    seed: int
    run: RunConfig
    data: DataOptions
    model: ModelConfig
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
            gives a value of the wrong type; or the folder holds no configuration that can be read.

    Example:
        >>> load_config(["privacy=none", "training.rounds=5"]).training.rounds
        5
    """
    folder = (config_dir or _shipped()).resolve()
    if not (folder / "simulate.yaml").is_file():
        raise ConfigError(f"{folder} holds no configuration", expected="a folder with simulate.yaml and its groups")
    composed = _compose(folder, [_parse(text) for text in overrides])
    return build(SimulationConfig, composed, error=ConfigError)


def _shipped() -> Path:
    """The folder of configurations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "simulate.yaml").is_file():
            return folder
    raise ConfigError("fedjoint's configs folder is missing", remedy="Install fedjoint again.")


def _parse(text: str) -> Override:
    """One override; a plain value that Hydra's grammar lacks, in Chinese or with a second ``=``, is text."""
    key, _, value = text.partition("=")
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        if not _PLAIN_TEXT.fullmatch(value):
            raise _no_override(text) from None
        try:
            override = OverridesParser.create().parse_override(f"{key}='{value}'")
        except HydraException:
            raise _no_override(text) from None
    if override.is_sweep_override():
        raise ConfigError(f"'{text}' is a sweep", expected="one value", remedy="Run once for each value.")
    return override


def _no_override(text: str) -> ConfigError:
    return ConfigError(
        f"'{text}' is no override",
        expected="key=value, such as privacy=none or training.rounds=5",
        remedy="Quote a value that holds brackets, commas or quotes: \"title='a, b'\"." if "=" in text else "",
    )


def _compose(folder: Path, overrides: list[Override]) -> Any:
    """The composed configuration as plain values; what Hydra would let pass silently is refused."""
    groups = {
        path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in folder.iterdir() if path.is_dir()
    }
    chosen = [override for override in overrides if override.key_or_group in groups]
    for override in chosen:
        _require_option(override, groups)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
            whole = compose("simulate", overrides=[str(override.input_line) for override in chosen])
            keys = [*groups, *_keys(whole)]
            values = [override for override in overrides if override not in chosen]
            for override in values:
                if override.key_or_group not in keys or _changes_keys(override):
                    raise _unknown_key(override, keys)
            for override in values:
                _set_value(whole, override)
            return OmegaConf.to_container(whole, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, YAMLError) as problem:
        words = " ".join(str(problem).split())[:300]
        raise ConfigError(f"the configuration does not fit together: {words}") from None


def _set_value(whole: DictConfig, override: Override) -> None:
    """As Hydra would, but without composing all of it again."""
    try:
        OmegaConf.update(whole, override.key_or_group, override.value(), merge=True)
    except OmegaConfBaseException as problem:
        raise HydraException(f"Error merging override {override.input_line}: {problem}") from None


def _require_option(override: Override, groups: Mapping[str, list[str]]) -> None:
    options = groups[override.key_or_group]
    if _changes_keys(override):
        raise _unknown_key(override, sorted(groups))
    if override.value() not in options:
        nearest = _nearest(str(override.value()), options)
        raise ConfigError(
            f"unknown option in '{override.input_line}'",
            expected="one of: " + ", ".join(options),
            remedy=f"Did you mean '{override.key_or_group}={nearest}'?" if nearest else "",
        )


def _changes_keys(override: Override) -> bool:
    """Whether an override adds, removes or moves a key, where only values may be given."""
    return bool(override.is_add() or override.is_delete() or override.package)


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        key = prefix + str(name)
        if isinstance(value, DictConfig):
            yield from _keys(value, f"{key}.")
        else:
            yield key


def _unknown_key(override: Override, valid: Sequence[str]) -> ConfigError:
    nearest = _nearest(override.key_or_group, valid)
    remedy = f"Did you mean '{nearest}'?" if nearest else "Choose one of: " + ", ".join(sorted(valid)) + "."
    return ConfigError(f"unknown key in '{override.input_line}'", remedy=remedy)


def _nearest(name: str, valid: Sequence[str]) -> str:
    """The valid name most like a wrong one; empty if none is."""
    return str(next(iter(difflib.get_close_matches(name, valid, 1, 0.5)), ""))
