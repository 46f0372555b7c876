"""Model code that this site has approved, and the policy that knows of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.review import HolderPolicy, load_policy
from fedjoint.errors import AgreementError
from fedjoint.files import replace_file
from fedjoint.models.code import approve_folder
from fedjoint.node.home import Home

__all__ = ["approve_code", "policy_of", "withdraw_code"]


def approve_code(home: Home, source: bytes) -> Path:
    """Keep a copy of model code that somebody has read; from now on agreements that name its hash may be signed."""
    path = home.models / f"{sha256_hex(source)}.py"
    home.models.mkdir(mode=0o700, exist_ok=True)
    replace_file(path, source, mode=0o600)
    return path


def withdraw_code(home: Home, start: str) -> str:
    """Approve code no more, by the start of its hash; what is signed under it refuses its tasks at the next start.

    Raises:
        AgreementError: none or several begin so.
    """
    found = [path for path in home.models.glob("*.py") if path.stem.startswith(start)]
    if len(found) != 1 or not start:
        raise AgreementError(f"{len(found)} approved files begin with '{start[:64]}'", expected="one")
    found[0].unlink()
    return found[0].stem


def policy_of(home: Home) -> HolderPolicy:
    """The holder's policy, with the code that was approved here; this process may run that code from now on.

    Raises:
        AgreementError: the policy cannot be read, or approved code was changed.
    """
    policy = load_policy(home.policy)
    return dataclasses.replace(policy, code=(*policy.code, *approve_folder(home.models)))
