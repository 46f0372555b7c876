"""What a receipt says it cost, checked when it arrives: the record must hold no receipt that later proves false."""

from __future__ import annotations

import math

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import GaussianEvent, num_steps
from fedjoint.training.plan import RoundReceipt

__all__ = ["check_releases"]


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
