"""What a holder signs about its part in a round, and what its releases cost: checked on arrival and when verified."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import Releases, costs
from fedjoint.privacy.releases import epsilon_if_opened, num_training_steps, releases_of
from fedjoint.strict import strict

__all__ = ["RoundReceipt", "check_releases"]


@strict
@dataclass(frozen=True, kw_only=True)
class RoundReceipt:
    """What a holder signs about its part in a round, for the record.

    Args:
        run_id: The run.
        holder: Its id.
        round: From 1.
        frame_sha256: Hash of the encrypted update it sent.
        releases: All it has released in this run so far, this round included, by name.
        epsilon: What they cost at the agreed delta (add-or-remove adjacency, per unit agreed); None without privacy.
        epsilon_if_opened: What they would cost if the holder's ciphertexts were opened; mode ``joint`` only.
    """

    run_id: str
    holder: str
    round: int
    frame_sha256: str
    releases: Releases
    epsilon: float | None
    epsilon_if_opened: float | None = None


def check_releases(receipt: RoundReceipt, terms: Terms, *, steps_before: int) -> int:
    """Refuse a receipt whose releases are not the agreed ones, have not grown, or cost other than it says.

    Args:
        receipt: Of a holder whose signature was checked.
        terms: The agreement.
        steps_before: Noisy steps in the holder's last receipt; 0 if there is none.

    Returns:
        Noisy steps in this one; 0 without privacy.

    Raises:
        PrivacyError: what is wrong with it.
    """
    privacy, training = terms.privacy, terms.training
    where = f"the receipt of '{receipt.holder}' in round {receipt.round}"
    if privacy.accounted_delta is None or privacy.epsilon is None:
        if receipt.releases or receipt.epsilon is not None or receipt.epsilon_if_opened is not None:
            raise PrivacyError(f"{where} states releases with noise", expected="none, as agreed")
        return 0
    steps = num_training_steps(receipt.releases)
    least = steps_before + training.local_steps
    if receipt.releases != releases_of(terms, max(steps, least)):
        raise PrivacyError(f"{where} states other releases than were agreed", expected=f"{least} noisy steps or more")
    _check_cost(receipt.epsilon, epsilon_of(costs(receipt.releases), privacy.accounted_delta), privacy.epsilon, where)
    opened = epsilon_if_opened(terms, steps)
    if opened is None or privacy.epsilon_if_opened is None:
        if receipt.epsilon_if_opened is not None:
            raise PrivacyError(f"{where} states an epsilon if opened", expected="none, as each holder's noise is full")
        return steps
    _check_cost(receipt.epsilon_if_opened, opened, privacy.epsilon_if_opened, f"{where}, if opened,")
    return steps


def _check_cost(stated: float | None, cost: float, limit: float, where: str) -> None:
    if stated is None or not math.isclose(cost, stated, rel_tol=1e-6) or cost > limit:
        raise PrivacyError(f"{where} states epsilon {stated}", expected=f"{cost:g}, at most {limit:g}")
