"""What a ledger of releases costs: epsilon as a function of events (add-or-remove adjacency).

Full-batch Gaussian releases have a closed form, which is exact and takes microseconds. Poisson-sampled ones are
composed as privacy loss distributions, whose discretisation only ever errs upwards.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from fedjoint.errors import PrivacyError
from fedjoint.privacy.events import MAX_STEPS, GaussianEvent, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["delta_of_gaussian", "epsilon_of", "is_within", "noise_multiplier_for", "rounds_affordable"]

#: Releases of a ledger summed up by kind: (sampling rate, noise multiplier, count), sorted.
_Kinds: TypeAlias = tuple[tuple[float, float, int], ...]

#: Below this noise multiplier sampling is left out of the account: an upper bound, and such a release protects nobody.
_LEAST_SAMPLED_NOISE = 0.3
_FINEST_GRID, _COARSEST_GRID = 2.0**-16, 2.0**-3
_MOST_CELLS = 2**21


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise PrivacyError(f"delta = {delta}", expected="a number in (0, 1), below 1 / number of records")


def _check_epsilon(epsilon: float) -> None:
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PrivacyError(f"epsilon = {epsilon}", expected="a finite number above 0")


def delta_of_gaussian(mu: float, epsilon: float) -> float:
    """The exact delta of Gaussian releases at a given epsilon.

    Args:
        mu: Root of the sum of 1 / noise multiplier² over the releases, > 0.
        epsilon: At least 0.

    Returns:
        The least delta for which the releases are (epsilon, delta)-private.

    Example:
        >>> round(delta_of_gaussian(1.0, 1.0), 6)
        0.126937

    Source:
        Balle and Wang 2018, "Improving the Gaussian mechanism", theorem 8; composition: Dong, Roth, Su 2022.
    """
    # exp(epsilon) overflows where the probability beside it underflows: multiply as logarithms
    return _normal(mu / 2 - epsilon / mu) - math.exp(min(epsilon + _log_normal(-mu / 2 - epsilon / mu), 0.0))


def _normal(x: float) -> float:
    """Distribution function of the standard normal: by the C library, ten times as fast for one number as scipy."""
    return math.erfc(-x * math.sqrt(0.5)) / 2


def _log_normal(x: float) -> float:
    """Its logarithm, also where the function itself underflows."""
    if x > -35:
        return math.log(_normal(x))
    from scipy.special import log_ndtr  # half a second to load, and rarely needed

    return float(log_ndtr(x))


def epsilon_of(events: Ledger, delta: float) -> float:
    """What the events cost together (add-or-remove adjacency).

    Args:
        events: All releases about the same records, in any order. Their kinds and the rule for stopping were fixed
            before the first of them; for adaptively chosen runs this number is not valid as a stopping rule.
        delta: In (0, 1), below 1 / number of records.

    Returns:
        Epsilon, at least 0; 0 for no events.

    Raises:
        PrivacyError: delta is outside (0, 1).

    Guarantees:
        Exact to 1e-9 relative where every sampling rate is 1; otherwise an upper bound, never an estimate from below.

    Example:
        >>> round(epsilon_of((GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=50),), 1e-5), 4)
        2.9432

    Source:
        Balle and Wang 2018 (closed form); Doroshenko et al. 2022, "Connect the dots" (privacy loss distributions).
    """
    _check_delta(delta)
    return _epsilon(_kinds(events), delta)


def is_within(events: Ledger, *, epsilon: float, delta: float) -> bool:
    """Whether events cost at most epsilon: ``epsilon_of(events, delta) <= epsilon``, without finding out how much.

    Args:
        events: As for :func:`epsilon_of`.
        epsilon: The limit, > 0.
        delta: In (0, 1).

    Raises:
        PrivacyError: epsilon or delta is out of range.

    Example:
        >>> is_within((GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=50),), epsilon=2.95, delta=1e-5)
        True
    """
    _check_epsilon(epsilon)
    _check_delta(delta)
    kinds = _kinds(events)
    if not kinds:
        return True
    # the closed form answers at once for full batches and bounds the rest; a hair below the limit, so that both agree
    return delta_of_gaussian(_mu(kinds), epsilon * (1 - 2e-11)) <= delta or _epsilon(kinds, delta) <= epsilon


def _kinds(events: Ledger) -> _Kinds:
    counts: dict[tuple[float, float], int] = {}
    for event in events:
        kind = event.sampling_rate, event.noise_multiplier
        counts[kind] = counts.get(kind, 0) + event.count
    return tuple(sorted((rate, noise, count) for (rate, noise), count in counts.items()))


@lru_cache(maxsize=4096)
def _epsilon(kinds: _Kinds, delta: float) -> float:
    if not kinds:
        return 0.0
    # sampling never makes a release cost more, so leaving it out bounds every ledger from above
    unsampled = _epsilon_of_gaussian(_mu(kinds), delta)
    sampled = [kind for kind in kinds if kind[0] < 1 and kind[1] >= _LEAST_SAMPLED_NOISE]
    grid = _grid(kinds, sampled) if sampled else math.inf
    if grid > _COARSEST_GRID:  # nothing is sampled, or epsilon is in the thousands and no bound is worth computing
        return unsampled
    total: Any = None
    for rate, noise, count in sampled:
        part = _loss_distribution(rate, noise, grid).self_compose(count)
        total = part if total is None else total.compose(part)
    rest = tuple(kind for kind in kinds if kind not in sampled)
    if rest:
        total = total.compose(_loss_distribution(1.0, 1 / _mu(rest), grid))
    return min(float(total.get_epsilon_for_delta(delta)), unsampled)


def _mu(kinds: _Kinds) -> float:
    """Gaussian releases compose to one of this sensitivity in units of its noise; sampling left out."""
    return math.sqrt(sum(count / noise**2 for _, noise, count in kinds))


def _epsilon_of_gaussian(mu: float, delta: float) -> float:
    """Newton's method on the logarithm of delta, from above.

    That logarithm is concave and falling in epsilon (Prékopa), so each tangent meets ``log(delta)`` above the root: the
    iterates fall towards it and stay on the safe side.
    """
    if delta_of_gaussian(mu, 0.0) <= delta:
        return 0.0
    epsilon = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta))
    for _ in range(64):
        at = delta_of_gaussian(mu, epsilon)
        slope = math.exp(min(epsilon + _log_normal(-mu / 2 - epsilon / mu), 0.0))  # of -delta, so > 0
        step = math.log(delta / at) * at / slope if at > 0 and slope > 0 else 0.0
        epsilon -= step
        if step <= 1e-11 * epsilon:
            break
    return float(epsilon * (1 + 1e-11))


def _bisect(holds: Callable[[float], bool], *, low: float, high: float, tolerance: float) -> float:
    """The least value for which ``holds``, from above: what is returned always holds."""
    while high - low > tolerance * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _grid(kinds: _Kinds, sampled: list[tuple[float, float, int]]) -> float:
    """Width of the cells of the loss distributions: a twentieth of one release's spread or less, as a power of two.

    The error of connect-the-dots falls with the square of cells per spread; at 20 it is near 1e-4 of epsilon. Powers
    of two let ledgers of several kinds share distributions. Cells widen where there would be too many of them, which
    still errs upwards only.
    """
    spreads = {kind: kind[0] * math.sqrt(math.expm1(kind[1] ** -2)) for kind in sampled}  # root of chi-squared
    loss = _mu(tuple(kind for kind in kinds if kind not in spreads)) ** 2
    loss += sum(count * min(math.log1p(spread**2), noise**-2) for (_, noise, count), spread in spreads.items())
    widest = (loss + 16 * math.sqrt(loss)) / _MOST_CELLS
    finest = min(spreads.values()) / 20
    return float(max(2.0 ** math.floor(math.log2(finest)), 2.0 ** math.ceil(math.log2(widest)), _FINEST_GRID))


@lru_cache(maxsize=16)
def _loss_distribution(sampling_rate: float, noise_multiplier: float, grid: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution  # two seconds to import, needed only with sampling

    return privacy_loss_distribution.from_gaussian_mechanism(
        noise_multiplier, value_discretization_interval=grid, sampling_prob=sampling_rate
    )


def noise_multiplier_for(
    epsilon: float, delta: float, *, sampling_rate: float, steps: int, spent: Ledger = ()
) -> float:
    """The noise that makes a plan cost at most epsilon.

    Args:
        epsilon: What the whole plan may cost, > 0.
        delta: In (0, 1).
        sampling_rate: Poisson sampling rate of every step, in (0, 1].
        steps: Releases in the whole plan: all rounds, all local steps.
        spent: What else is released of the same records, and fits into epsilon too.

    Returns:
        The noise multiplier, within 1e-4 of the least that will do (1e-9 for a sampling rate of 1).

    Raises:
        PrivacyError: epsilon or delta is out of range, or no noise multiplier up to 1e6 is enough.
        InvalidValue: the sampling rate or the number of steps is out of range.

    Guarantees:
        ``epsilon_of`` of the plan at the result is at most ``epsilon``.

    Example:
        >>> round(noise_multiplier_for(3.0, 1e-5, sampling_rate=1.0, steps=40), 3)
        8.795
    """
    _check_epsilon(epsilon)
    _check_delta(delta)

    def enough(noise: float) -> bool:
        plan = GaussianEvent(sampling_rate=sampling_rate, noise_multiplier=noise, count=steps)
        return epsilon_of((*spent, plan), delta) <= epsilon

    high = 1.0
    while not enough(high):
        if high == 1e6:
            raise PrivacyError(
                f"epsilon = {epsilon:g} at delta = {delta:g} for {steps} steps needs a noise multiplier above 1e6",
                remedy="Take fewer steps or raise epsilon.",
            )
        high = min(high * 2, 1e6)
    low = high / 2
    while low > 1e-6 and enough(low):
        low, high = max(low / 2, 1e-6), low
    return _bisect(enough, low=low, high=high, tolerance=1e-9 if sampling_rate == 1 else 1e-4)


def rounds_affordable(event: GaussianEvent, *, epsilon: float, delta: float, spent: Ledger = ()) -> int:
    """How many rounds fit into a limit.

    Args:
        event: What one round releases.
        epsilon: The limit, > 0.
        delta: In (0, 1).
        spent: What was released before.

    Returns:
        The greatest number of rounds whose total cost is at most epsilon; 0 where not even one fits.

    Raises:
        PrivacyError: epsilon or delta is out of range.

    Example:
        >>> step = GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0)
        >>> rounds_affordable(step, epsilon=2.95, delta=1e-5)
        50
    """
    _check_epsilon(epsilon)
    _check_delta(delta)
    most = MAX_STEPS // event.count

    def fits(rounds: int) -> bool:
        more = GaussianEvent(
            sampling_rate=event.sampling_rate, noise_multiplier=event.noise_multiplier, count=event.count * rounds
        )
        return epsilon_of((*spent, more), delta) <= epsilon

    low, high = 0, 1  # low always fits, high is not known to
    while high <= most and fits(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
