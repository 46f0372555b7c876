"""What a holder checks before it signs: the terms against its own policy, which nobody else can change."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedjoint.agreement.terms import Terms
from fedjoint.errors import AgreementError, InvalidValue
from fedjoint.strict import strict

__all__ = ["HolderPolicy", "require_acceptable", "review"]


@strict
@dataclass(frozen=True, kw_only=True)
class HolderPolicy:
    """The limits that a holder sets for itself.

    Args:
        maximum_epsilon: The most that one run may spend of it.
        maximum_epsilon_if_opened: The most that a ``joint`` run may spend if its ciphertexts were opened.
        minimum_colluders: Against so many colluding holders at least a ``joint`` run must protect it; with 0 any other
            holder could subtract its own noise and learn more than the stated epsilon.
        maximum_delta: The largest delta it accepts.
        allow_no_privacy: Whether a run without noise is acceptable: research on public data only.
        allow_insecure_noise: Whether reproducible, and therefore not private, noise is acceptable.
        allow_kept_updates: Whether its (noised) updates may be kept in the clear, for audit and other values.

    Raises:
        InvalidValue: a limit that nothing would exceed, NaN say, or that is negative.
    """

    maximum_epsilon: float = 8.0
    maximum_epsilon_if_opened: float = 16.0
    minimum_colluders: int = 1
    maximum_delta: float = 1e-3
    allow_no_privacy: bool = False
    allow_insecure_noise: bool = False
    allow_kept_updates: bool = False

    def __post_init__(self) -> None:
        for name in ("maximum_epsilon", "maximum_epsilon_if_opened", "minimum_colluders"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidValue(f"{name} = {value}", expected="a finite number from 0")
        if not 0 <= self.maximum_delta <= 1:
            raise InvalidValue(f"maximum_delta = {self.maximum_delta}", expected="a number from 0 to 1")


def review(terms: Terms, policy: HolderPolicy) -> tuple[str, ...]:
    """All objections of a holder's policy against terms, in words; empty if it may sign."""
    privacy, objections = terms.privacy, list[str]()
    if terms.valuation.keep_updates and not policy.allow_kept_updates:
        objections.append("valuation.keep_updates would give updates away in the clear, and the policy forbids it")
    if privacy.mode == "none":
        if not policy.allow_no_privacy:
            objections.append("privacy.mode is none: updates would leave without noise, and the policy forbids it")
        return tuple(objections)
    if privacy.epsilon is not None and privacy.epsilon > policy.maximum_epsilon:
        objections.append(f"privacy.epsilon = {privacy.epsilon:g} is above the policy's {policy.maximum_epsilon:g}")
    if privacy.epsilon_if_opened is not None and privacy.epsilon_if_opened > policy.maximum_epsilon_if_opened:
        objections.append(
            f"privacy.epsilon_if_opened = {privacy.epsilon_if_opened:g} is above the policy's "
            f"{policy.maximum_epsilon_if_opened:g}"
        )
    if privacy.colluders is not None and privacy.colluders < policy.minimum_colluders:
        objections.append(f"privacy.colluders = {privacy.colluders} is below the policy's {policy.minimum_colluders}")
    if privacy.delta is not None and privacy.delta > policy.maximum_delta:
        objections.append(f"privacy.delta = {privacy.delta:g} is above the policy's {policy.maximum_delta:g}")
    if privacy.insecure_seed is not None and not policy.allow_insecure_noise:
        objections.append("privacy.insecure_seed makes the noise predictable, and the policy forbids it")
    return tuple(objections)


def require_acceptable(terms: Terms, policy: HolderPolicy, holder_id: str) -> None:
    """Refuse terms that the policy forbids.

    Raises:
        AgreementError: names every objection.
    """
    objections = review(terms, policy)
    if objections:
        raise AgreementError(
            f"'{holder_id}' does not sign: " + "; ".join(objections),
            remedy="Change the terms, or the holder its policy.",
        )
