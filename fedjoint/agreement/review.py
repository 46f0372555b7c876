"""What a holder checks before it signs: the terms against its own policy, which nobody else can change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedjoint.agreement.terms import Terms
from fedjoint.errors import AgreementError, InvalidValue
from fedjoint.settings_file import read_settings
from fedjoint.strict import build, strict

__all__ = ["Difference", "HolderPolicy", "load_policy", "require_acceptable", "review"]

MAX_POLICY_BYTES = 10**6


@strict
@dataclass(frozen=True, kw_only=True)
class HolderPolicy:
    """The limits that a holder sets for itself; the defaults are those of a holder that has written none.

    Args:
        maximum_epsilon: The most that one run may spend of it.
        maximum_epsilon_if_opened: The most that a ``joint`` run may spend if its ciphertexts were opened.
        maximum_delta: The largest delta it accepts.
        maximum_lifetime_epsilon: The most that its lifetime budget may allow; None: it may take part without one.
        maximum_clip_norm: The largest bound on one record's gradient; None: any, as the noise grows with it.
        minimum_noise_multiplier: The least noise of its own in anything it releases, in units of what one record can
            change there; in mode ``joint`` its share's.
        minimum_colluders: Against so many colluding holders at least a ``joint`` run must protect it; with 0 any other
            holder could subtract its own noise and learn more than the stated epsilon.
        minimum_holders: Fewest holders whose updates a sum that is opened may have.
        modes: Privacy modes it accepts; ``none``, updates without noise, only where it stands here.
        models: Kinds of model it accepts; ``code`` by its hash instead.
        code: SHA-256 of model code that somebody there has read and approved; the file is in the node's own folder.
        purposes: The purposes it accepts, word for word; None: any, as a person reads it before signing.
        allow_insecure_noise: Whether reproducible, and therefore not private, noise is acceptable.
        allow_inferred_schema: Whether, with privacy on, constants that were read off the records are acceptable.
        allow_kept_updates: Whether its (noised) updates may be kept in the clear, for audit and other values.
        allow_audit_blocks: Whether sums of its (noised) updates with those of two others or more may be opened.
        maximum_error_numbers: Numbers opened of it beside its contribution, to estimate its error, at most.
        allow_duplicate_search: Whether it tells other holders of an agreement, each once, which of their own records it
            has too (:mod:`fedjoint.data.duplicates`).
        allow_exact_size: Whether, with privacy on, its number of examples may be stated as it is: true only if that
            number is public anyway.

    Raises:
        InvalidValue: a limit that nothing would exceed, NaN say, or that is negative, or no mode or model at all.
    """

    maximum_epsilon: float = 8.0
    maximum_epsilon_if_opened: float = 16.0
    maximum_delta: float = 1e-3
    maximum_lifetime_epsilon: float | None = None
    maximum_clip_norm: float | None = None
    minimum_noise_multiplier: float = 0.0
    minimum_colluders: int = 1
    minimum_holders: int = 2
    modes: tuple[Literal["local", "joint", "none"], ...] = ("local", "joint")
    models: tuple[str, ...] | None = None
    code: tuple[str, ...] = ()
    purposes: tuple[str, ...] | None = None
    allow_insecure_noise: bool = False
    allow_inferred_schema: bool = False
    allow_kept_updates: bool = False
    allow_audit_blocks: bool = False
    maximum_error_numbers: int = 8
    allow_duplicate_search: bool = False
    allow_exact_size: bool = False

    def __post_init__(self) -> None:
        for name in (
            "maximum_epsilon",
            "maximum_epsilon_if_opened",
            "maximum_lifetime_epsilon",
            "maximum_clip_norm",
            "minimum_noise_multiplier",
            "minimum_colluders",
            "minimum_holders",
            "maximum_error_numbers",
        ):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InvalidValue(f"{name} = {value}", expected="a finite number from 0")
        if not 0 <= self.maximum_delta <= 1:
            raise InvalidValue(f"maximum_delta = {self.maximum_delta}", expected="a number from 0 to 1")
        for name in ("modes", "models", "purposes"):
            if getattr(self, name) == ():
                raise InvalidValue(f"{name} is empty", expected="at least one", remedy="Leave it out to accept any.")


@strict
@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where terms are not what a policy allows.

    Args:
        field: Of the agreement, such as ``privacy.epsilon``.
        agreed: What the agreement says.
        allowed: What the policy allows, in words.
    """

    field: str
    agreed: str
    allowed: str

    def __str__(self) -> str:
        """The difference as part of a sentence."""
        return f"{self.field} = {self.agreed} where the policy allows {self.allowed}"


def load_policy(path: Path) -> HolderPolicy:
    """Read a holder's policy from its own YAML or JSON file; what it does not name has its default.

    Raises:
        AgreementError: the file is missing, malformed, or has an unknown key, a wrong type or an impossible limit; or
            others than its owner may write it.
    """
    if path.exists() and path.stat().st_mode & 0o022:
        raise AgreementError(
            f"policy file '{path}' may be written by others than its owner", remedy=f"Run: chmod go-w '{path}'"
        )
    value = read_settings(path, most_bytes=MAX_POLICY_BYTES, error=AgreementError, what="policy file")
    return build(HolderPolicy, {} if value is None else value, error=AgreementError, where="policy")


def review(terms: Terms, policy: HolderPolicy) -> tuple[Difference, ...]:
    """All differences between terms and what a holder's policy allows; empty if it may sign.

    Example:
        >>> print(Difference(field="privacy.epsilon", agreed="9", allowed="at most 8"))
        privacy.epsilon = 9 where the policy allows at most 8
    """
    return (*_of_agreement(terms, policy), *_of_privacy(terms, policy))


def require_acceptable(terms: Terms, policy: HolderPolicy, holder_id: str) -> None:
    """Refuse terms that the policy forbids.

    Raises:
        AgreementError: names every difference.
    """
    differences = review(terms, policy)
    if differences:
        raise AgreementError(
            f"'{holder_id}' does not sign: " + "; ".join(map(str, differences)),
            remedy="Change the terms, or the holder its policy.",
        )


def _of_agreement(terms: Terms, policy: HolderPolicy) -> Iterator[Difference]:
    choices: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
        ("purpose", terms.purpose, policy.purposes),
        ("privacy.mode", terms.privacy.mode, policy.modes),
    )
    if terms.model.code_sha256 is None:
        choices = (*choices, ("model.kind", terms.model.kind, policy.models))
    elif terms.model.code_sha256 not in policy.code:
        allowed_words = "code that somebody here has read and approved (fedjoint holder approve FILE)"
        yield Difference(field="model.code_sha256", agreed=terms.model.code_sha256, allowed=allowed_words)
    for field, agreed, allowed in choices:
        if allowed is not None and agreed not in allowed:
            yield Difference(field=field, agreed=agreed, allowed=" or ".join(map(repr, allowed)))
    if terms.data.schema.origin == "inferred" and terms.privacy.mode != "none" and not policy.allow_inferred_schema:
        allowed_words = "published or declared: what was read off the records would leave without noise or charge"
        yield Difference(field="data.schema.origin", agreed="inferred", allowed=allowed_words)
    exact = terms.releases.sizes_noise_multiplier is None
    if exact and terms.privacy.mode != "none" and not policy.allow_exact_size:
        allowed_words = "a number counted with noise: as it is it would leave without charge"
        yield Difference(field="releases.sizes_noise_multiplier", agreed="none", allowed=allowed_words)
    if terms.valuation.keep_updates and not policy.allow_kept_updates:
        yield Difference(field="valuation.keep_updates", agreed="true", allowed="false: updates stay encrypted")
    if terms.valuation.audit_blocks and not policy.allow_audit_blocks:
        yield Difference(field="valuation.audit_blocks", agreed="agreed", allowed="none: only whole sums are opened")
    if terms.valuation.error_numbers > policy.maximum_error_numbers:
        yield _beyond("valuation.error_numbers", terms.valuation.error_numbers, "at most", policy.maximum_error_numbers)
    if terms.training.minimum_holders < policy.minimum_holders:
        yield _beyond("training.minimum_holders", terms.training.minimum_holders, "at least", policy.minimum_holders)


def _of_privacy(terms: Terms, policy: HolderPolicy) -> Iterator[Difference]:
    privacy, releases = terms.privacy, terms.releases
    most: tuple[tuple[str, float | None, float | None], ...] = (
        ("epsilon", privacy.epsilon, policy.maximum_epsilon),
        ("epsilon_if_opened", privacy.epsilon_if_opened, policy.maximum_epsilon_if_opened),
        ("delta", privacy.delta, policy.maximum_delta),
        ("clip_norm", privacy.clip_norm, policy.maximum_clip_norm),
    )
    noise = policy.minimum_noise_multiplier
    least: tuple[tuple[str, float | None, float], ...] = (
        ("privacy.noise_multiplier", privacy.noise_multiplier, noise),
        ("releases.statistics_noise_multiplier", releases.statistics_noise_multiplier, noise),
        ("releases.metrics_noise_multiplier", releases.metrics_noise_multiplier, noise),
        ("releases.sizes_noise_multiplier", releases.sizes_noise_multiplier, noise),
        ("privacy.colluders", privacy.colluders, policy.minimum_colluders),
    )
    for field, agreed, allowed in most:
        if agreed is not None and allowed is not None and agreed > allowed:
            yield _beyond(f"privacy.{field}", agreed, "at most", allowed)
    for field, agreed, allowed in least:
        if agreed is not None and allowed is not None and agreed < allowed:
            yield _beyond(field, agreed, "at least", allowed)
    if privacy.insecure_seed is not None and not policy.allow_insecure_noise:
        allowed_words = "none, as it makes the noise predictable"
        yield Difference(field="privacy.insecure_seed", agreed=str(privacy.insecure_seed), allowed=allowed_words)


def _beyond(field: str, agreed: float, words: str, allowed: float) -> Difference:
    return Difference(field=field, agreed=f"{agreed:g}", allowed=f"{words} {allowed:g}")
