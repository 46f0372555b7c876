"""What a run under an agreement releases of a holder's records, by name: the account is a function of the terms."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fedjoint.agreement.terms import Terms
from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import PURPOSES, GaussianEvent, Purpose, Release, Releases, costs, costs_if_opened
from fedjoint.strict import strict

__all__ = [
    "Cost",
    "dearest",
    "epsilon_if_opened",
    "itemised",
    "num_training_steps",
    "once_released",
    "releases_of",
    "round_release",
    "size_release",
    "worst_case",
]


@strict
@dataclass(frozen=True, kw_only=True)
class Cost:
    """One line of an account.

    Args:
        purpose: What was released.
        count: How many releases.
        epsilon: What they cost by themselves; epsilons of several lines do not add up, their total is less.
        epsilon_if_opened: What they would cost by themselves if the holder's ciphertexts were opened; mode ``joint``
            only, and None for what costs nothing more then.
    """

    purpose: Purpose
    count: int
    epsilon: float
    epsilon_if_opened: float | None = None


def round_release(terms: Terms) -> Release | None:
    """What one round releases; None without privacy.

    In mode ``joint`` the sum carries the noise of the fewest holders that it may have, less the colluders among them,
    and a holder's own ciphertext its share alone.
    """
    privacy, training = terms.privacy, terms.training
    if privacy.noise_multiplier is None:
        return None
    return _noisy("training", privacy.noise_multiplier, terms, rate=training.sampling_rate, count=training.local_steps)


def once_released(terms: Terms) -> Releases:
    """All that is charged before the first round: statistics, validation gradients, contributions, metrics, sizes.

    Of validation gradients there is one for each round. A record is either trained on or held out for them; that it is
    charged for both makes the account too high, never too low.

    If a holder's ciphertexts were opened, its contribution, which is computed from them, would cost nothing more.
    """
    made, agreed = [], terms.releases
    if agreed.statistics_noise_multiplier is not None:
        made.append(_noisy("statistics", agreed.statistics_noise_multiplier, terms))
    if agreed.validation_noise_multiplier is not None:
        made.append(_noisy("validation", agreed.validation_noise_multiplier, terms, count=terms.training.rounds))
    if terms.privacy.contributions_noise_multiplier is not None:
        event = GaussianEvent(sampling_rate=1.0, noise_multiplier=terms.privacy.contributions_noise_multiplier)
        made.append(Release(purpose="contributions", event=event, if_opened=None))
    if agreed.metrics_noise_multiplier is not None:
        made.append(_noisy("metrics", agreed.metrics_noise_multiplier, terms))
    if agreed.sizes_noise_multiplier is not None:
        made.append(size_release(agreed.sizes_noise_multiplier))
    return tuple(made)


def size_release(noise_multiplier: float) -> Release:
    """The number of a holder's examples, as the agreement states it: the holder adds all of the noise, in any mode."""
    event = GaussianEvent(sampling_rate=1.0, noise_multiplier=noise_multiplier)
    return Release(purpose="sizes", event=event, if_opened=event)


def releases_of(terms: Terms, steps: int) -> Releases:
    """All that is charged by the time a holder has taken so many noisy steps, at least 1; empty without privacy."""
    release = round_release(terms)
    return () if release is None else (*once_released(terms), release.times(steps))


def worst_case(terms: Terms) -> Releases:
    """All that a run may ever release of a holder's records."""
    return releases_of(terms, terms.training.rounds * terms.training.local_steps)


def num_training_steps(releases: Releases) -> int:
    """Noisy steps of training among releases."""
    return sum(release.event.count for release in releases if release.purpose == "training")


def epsilon_if_opened(terms: Terms, steps: int) -> float | None:
    """What so many rounds of mode ``joint``, and all else, would cost if the holder's own ciphertexts were opened.

    None in other modes, where every holder's noise is full and opening them costs nothing more.
    """
    if terms.privacy.mode != "joint":
        return None
    return epsilon_of(costs_if_opened(releases_of(terms, steps)), _accounted_delta(terms))


def itemised(terms: Terms, releases: Releases) -> tuple[Cost, ...]:
    """What each purpose costs by itself at the agreed delta, add-or-remove adjacency, in the order of an account.

    Args:
        terms: The agreement.
        releases: Of one holder, from :func:`releases_of` or its receipt.

    Raises:
        PrivacyError: nothing was agreed to cost anything.
    """
    lines, delta = [], _accounted_delta(terms)
    for purpose in PURPOSES:
        parts = [release for release in releases if release.purpose == purpose]
        opened = costs_if_opened(parts) if terms.privacy.mode == "joint" else ()
        if parts:
            lines.append(
                Cost(
                    purpose=purpose,
                    count=sum(part.event.count for part in parts),
                    epsilon=epsilon_of(costs(parts), delta),
                    epsilon_if_opened=epsilon_of(opened, delta) if opened else None,
                )
            )
    return tuple(lines)


def dearest(releases: Iterable[Releases]) -> Releases:
    """Of several holders' releases those of the one that took most steps; empty of none."""
    return max(releases, key=num_training_steps, default=())


def _noisy(purpose: Purpose, noise_multiplier: float, terms: Terms, *, rate: float = 1.0, count: int = 1) -> Release:
    """A release to which every holder adds noise of this multiplier: in mode ``joint`` a share, else all of it."""
    own = GaussianEvent(sampling_rate=rate, noise_multiplier=noise_multiplier, count=count)
    if terms.privacy.mode != "joint":
        return Release(purpose=purpose, event=own, if_opened=own)
    together = noise_multiplier * math.sqrt(terms.honest_holders)
    event = GaussianEvent(sampling_rate=rate, noise_multiplier=together, count=count)
    return Release(purpose=purpose, event=event, if_opened=own)


def _accounted_delta(terms: Terms) -> float:
    delta = terms.privacy.accounted_delta
    if delta is None:
        raise PrivacyError("nothing has an epsilon under privacy.mode none", remedy="Agree on a privacy mode.")
    return delta
