"""What a run under an agreement releases of a holder's records, as ledgers: the account is a function of the terms."""

from __future__ import annotations

import dataclasses
import math

from fedjoint.agreement.terms import Terms
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import GaussianEvent, Ledger, append

__all__ = ["epsilon_if_opened", "ledger_of", "once_released", "round_release"]


def round_release(terms: Terms) -> GaussianEvent | None:
    """What one round releases to whoever sees its opened sum; None without privacy.

    In mode ``joint`` it carries the noise of the fewest holders that a sum may have, less the colluders among them.
    """
    privacy, training = terms.privacy, terms.training
    if privacy.noise_multiplier is None:
        return None
    noise = privacy.noise_multiplier
    if privacy.mode == "joint":
        noise *= math.sqrt(terms.honest_holders)
    return GaussianEvent(sampling_rate=training.sampling_rate, noise_multiplier=noise, count=training.local_steps)


def once_released(terms: Terms) -> Ledger:
    """What a run releases once: in mode ``joint`` the contributions, charged before the first round."""
    noise = terms.privacy.contributions_noise_multiplier
    return () if noise is None else (GaussianEvent(sampling_rate=1.0, noise_multiplier=noise),)


def ledger_of(terms: Terms, steps: int) -> Ledger:
    """All that is charged by the time a holder has taken so many noisy steps, at least 1; empty without privacy."""
    release = round_release(terms)
    return () if release is None else append(once_released(terms), dataclasses.replace(release, count=steps))


def epsilon_if_opened(terms: Terms, steps: int) -> float | None:
    """What so many rounds of mode ``joint`` would cost a holder if its own ciphertexts were opened; else None.

    Its share alone protects it then. Its contribution is computed from what was opened and costs nothing more.
    """
    privacy = terms.privacy
    if privacy.mode != "joint":
        return None
    assert privacy.noise_multiplier is not None and privacy.accounted_delta is not None  # PrivacyTerms made sure
    release = GaussianEvent(
        sampling_rate=terms.training.sampling_rate, noise_multiplier=privacy.noise_multiplier, count=steps
    )
    return epsilon_of((release,), privacy.accounted_delta)
