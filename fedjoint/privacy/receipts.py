"""What a holder signs about its part in a round, and what its releases cost: checked on arrival and when verified."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import GaussianEvent, Ledger, num_steps
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
        events: All it has released in this run so far, this round included.
        epsilon: What they cost at the agreed delta (add-or-remove adjacency, per record); None without privacy.
    """

    run_id: str
    holder: str
    round: int
    frame_sha256: str
    events: Ledger
    epsilon: float | None


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
    if privacy.delta is None or privacy.epsilon is None or privacy.noise_multiplier is None:
        if receipt.events or receipt.epsilon is not None:
            raise PrivacyError(f"{where} states releases with noise", expected="none, as agreed")
        return 0
    steps = num_steps(receipt.events)
    least = steps_before + training.local_steps
    agreed = GaussianEvent(
        sampling_rate=training.sampling_rate, noise_multiplier=privacy.noise_multiplier, count=max(steps, least)
    )
    if receipt.events != (agreed,):
        raise PrivacyError(f"{where} states other releases than were agreed", expected=f"{least} noisy steps or more")
    cost = epsilon_of(receipt.events, privacy.delta)
    if receipt.epsilon is None or not math.isclose(cost, receipt.epsilon, rel_tol=1e-6) or cost > privacy.epsilon:
        raise PrivacyError(
            f"{where} states epsilon {receipt.epsilon}", expected=f"{cost:g}, at most {privacy.epsilon:g}"
        )
    return steps
