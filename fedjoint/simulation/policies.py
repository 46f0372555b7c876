"""A policy for each simulated holder: its own file, or one that allows whatever a simulation may do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.review import HolderPolicy, load_policy
from fedjoint.config import SimulationConfig
from fedjoint.data.division import Division
from fedjoint.errors import AgreementError
from fedjoint.models.code import read_code
from fedjoint.settings_file import YAML

__all__ = ["ANYTHING", "policies_of"]

ANYTHING = HolderPolicy(
    maximum_epsilon=1e6,
    maximum_epsilon_if_opened=1e6,
    minimum_colluders=0,
    maximum_delta=1.0,
    modes=("local", "joint", "none"),
    allow_insecure_noise=True,
    allow_inferred_schema=True,
    allow_kept_updates=True,
    allow_audit_blocks=True,
    maximum_error_numbers=16,
    allow_duplicate_search=True,
    allow_exact_size=True,
)


def policies_of(config: SimulationConfig, division: Division) -> Mapping[str, HolderPolicy]:
    """Each holder's policy, from ``<run.policies>/<holder>.yaml`` where it has one; others accept the model's code too.

    Raises:
        AgreementError: there is no such folder, a file in it is nobody's, or is no policy.
    """
    run, file = config.run, config.model.code
    code = () if file is None else (sha256_hex(read_code(Path(file).expanduser())),)
    policies = dict.fromkeys((holder.id for holder in division.holders), dataclasses.replace(ANYTHING, code=code))
    if run.policies is None:
        return policies
    folder = Path(run.policies).expanduser()
    if not folder.is_dir():
        raise AgreementError(f"run.policies = '{folder}' is no folder", remedy="Make it, with HOLDER.yaml in it.")
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in YAML:
            if path.stem not in policies:
                raise AgreementError(f"'{path}' is of no holder", expected=f"one of: {', '.join(sorted(policies))}")
            policies[path.stem] = load_policy(path)
    return policies
