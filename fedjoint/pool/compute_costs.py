"""What a holder's training cost: metered and signed by the holder, held against the run's record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.agreement.money_terms import MoneyTerms
from fedjoint.errors import PoolError
from fedjoint.identity.keys import Identity, PublicIdentity
from fedjoint.pool import accounts
from fedjoint.pool.money import check_minor
from fedjoint.strict import strict

__all__ = ["MeteredCosts", "SignedCosts", "costs_minor", "sign_costs"]

_PURPOSE = "compute-costs"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_SECONDS = 10**12


@strict
@dataclass(frozen=True, kw_only=True)
class MeteredCosts:
    """What a holder metered over one run.

    Args:
        holder: Its party id.
        run_id: Of the run, 1 to 127 characters.
        agreement_sha256: Of the agreement it ran under.
        cpu_seconds: Processor seconds, of all cores together, rounded down.
        gpu_seconds: The same of GPUs.

    Raises:
        PoolError: malformed.
    """

    holder: str
    run_id: str
    agreement_sha256: str
    cpu_seconds: int
    gpu_seconds: int = 0

    def __post_init__(self) -> None:
        accounts.payable(self.holder)
        if not 1 <= len(self.run_id) <= 127:
            raise PoolError(f"run id '{self.run_id[:80]}'", expected="1 to 127 characters")
        if not _SHA256.fullmatch(self.agreement_sha256):
            raise PoolError(f"agreement '{self.agreement_sha256[:80]}'", expected="64 lower-case hex digits")
        for name in ("cpu_seconds", "gpu_seconds"):
            seconds = getattr(self, name)
            if type(seconds) is not int or not 0 <= seconds <= _MAX_SECONDS:
                raise PoolError(f"{name} = {seconds!r}", expected=f"a whole number of 0 to {_MAX_SECONDS}")


@strict
@dataclass(frozen=True, kw_only=True)
class SignedCosts:
    """Metered costs with the holder's signature."""

    costs: MeteredCosts
    signature: str


def sign_costs(costs: MeteredCosts, holder: Identity) -> SignedCosts:
    """Sign what was metered, as its holder.

    Raises:
        PoolError: the costs are another holder's.
    """
    if costs.holder != holder.id:
        raise PoolError(f"'{holder.id}' cannot sign the costs of '{costs.holder}'")
    return SignedCosts(costs=costs, signature=holder.sign(_PURPOSE, canonical_bytes(costs)))


def costs_minor(
    signed: SignedCosts, holder: PublicIdentity, *, agreement_sha256: str, rounds: Mapping[str, int], terms: MoneyTerms
) -> int:
    """What the costs of a run come to, once they are found to be right.

    Args:
        signed: By the holder.
        holder: Its public keys, from the agreement.
        agreement_sha256: Of the agreement.
        rounds: By run id, in how many rounds the signed record of the run names this holder.
        terms: The agreed rates, and how many seconds may be claimed for a round.

    Returns:
        Minor units, rounded down.

    Raises:
        IdentityError: the signature is not the holder's.
        PoolError: another holder, agreement or run, or more seconds than the recorded rounds allow.
    """
    costs = signed.costs
    if costs.holder != holder.id or costs.agreement_sha256 != agreement_sha256:
        raise PoolError(
            f"the costs are of '{costs.holder}' under agreement {costs.agreement_sha256[:16]}…",
            expected=f"'{holder.id}' under {agreement_sha256[:16]}…",
        )
    holder.verify(_PURPOSE, canonical_bytes(costs), signed.signature)
    if costs.run_id not in rounds:
        raise PoolError(f"the costs are of run '{costs.run_id[:80]}'", expected=f"one of: {', '.join(sorted(rounds))}")
    most = rounds[costs.run_id] * terms.compute_seconds_per_round
    for name, seconds in (("CPU", costs.cpu_seconds), ("GPU", costs.gpu_seconds)):
        if seconds > most:
            raise PoolError(
                f"'{costs.holder}' claims {seconds} {name} seconds of run '{costs.run_id}'",
                expected=f"at most {most}: {rounds[costs.run_id]} recorded rounds of {terms.compute_seconds_per_round}",
            )
    amount = (costs.cpu_seconds * terms.cpu_hour_minor + costs.gpu_seconds * terms.gpu_hour_minor) // 3_600
    return check_minor(f"compute costs of '{costs.holder}'", amount, low=0)
