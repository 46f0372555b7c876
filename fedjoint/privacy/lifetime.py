"""What a cohort's records may cost over all runs, however each run is chosen in the light of those before.

Composing a loss distribution and stopping when it reaches the limit is not valid where runs are chosen adaptively, and
a holder's always are: who trains again depends on what the last model was worth. A *filter* is: a sum of costs that
must stay below a limit fixed at the start, whatever is released and why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from fedjoint.errors import InvalidValue, PrivacyError
from fedjoint.privacy.accounting import delta_of_gaussian, epsilon_of
from fedjoint.privacy.events import GaussianEvent, Ledger
from fedjoint.strict import strict

__all__ = [
    "FilterName",
    "LifetimeBudget",
    "Measure",
    "binding_measure",
    "cut_off_allowed",
    "epsilon_left",
    "fits",
    "gdp_limit",
    "lifetime_budget",
    "rdp_cost",
    "rdp_limit",
    "rdp_order",
    "runs_left",
    "statement",
]

FilterName: TypeAlias = Literal["either", "gdp", "rdp"]

#: Taken off each limit and put on each sum, so that rounding can only refuse.
_ROUNDING = 1e-12
#: Below this noise multiplier sampling is left out of the price: an upper bound, and such a release protects nobody.
_LEAST_SAMPLED_NOISE = 0.3
_STEP, _TAIL = 0.05, 40.0
#: The part of delta that is kept for noise that is cut off (mode ``joint``).
_CUT_OFF_PART = 1e-3


@strict
@dataclass(frozen=True, kw_only=True)
class LifetimeBudget:
    """The limit, and the filter that keeps it. Made once by :func:`lifetime_budget` and never changed.

    Args:
        epsilon: The most that all releases about the cohort may ever cost (add-or-remove adjacency), above 0, at
            most 1000.
        delta: In (0, 1), below 1 / number of records.
        filter: Which sum is kept below its limit; see :func:`statement`.
        order: Of the Rényi divergence, above 1; None for ``gdp``. It must not follow what the runs turn out to be.

    Raises:
        InvalidValue: a value is outside its range, or there is an order where none belongs.
    """

    epsilon: float
    delta: float
    filter: FilterName
    order: float | None

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1000:
            raise InvalidValue(f"epsilon = {self.epsilon}", expected="a number above 0, at most 1000")
        if not 0 < self.delta < 1:
            raise InvalidValue(f"delta = {self.delta}", expected="a number in (0, 1), below 1 / number of records")
        if (self.order is None) != (self.filter == "gdp"):
            raise InvalidValue(f"order = {self.order} with filter '{self.filter}'", expected="one unless it is gdp")
        if self.order is not None and not 1 < self.order < math.inf:
            raise InvalidValue(f"order = {self.order}", expected="a finite number above 1")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One sum of costs and its limit.

    Args:
        name: ``gdp`` or ``rdp``.
        limit: What the sum may come to.
        order: Of ``rdp``; None for ``gdp``.
    """

    name: Literal["gdp", "rdp"]
    limit: float
    order: float | None = None

    def cost(self, events: Ledger) -> float:
        """What releases cost in this measure: it adds up over runs."""
        if self.order is None:
            return (1 + _ROUNDING) * math.fsum(event.count / event.noise_multiplier**2 for event in events)
        return (1 + _ROUNDING) * math.fsum(rdp_cost(event, self.order) for event in events)

    def fraction(self, events: Ledger) -> float:
        """The same as a fraction of the limit."""
        return self.cost(events) / self.limit


def lifetime_budget(epsilon: float, delta: float, *, filter_name: FilterName = "either") -> LifetimeBudget:
    """Fix a lifetime budget, and the order of its filter with it.

    Args:
        epsilon: Above 0, at most 1000.
        delta: In (0, 1).
        filter_name: ``gdp`` is the best for full batches and prices a sampled release as if nothing were sampled;
            ``rdp`` suits both; ``either`` lets the better of the two decide, for half the delta each.

    Raises:
        InvalidValue: a value is outside its range.
        PrivacyError: no order gives a positive limit: epsilon is far too small for that delta.

    Example:
        >>> lifetime_budget(8.0, 1e-5, filter_name="gdp")
        LifetimeBudget(epsilon=8.0, delta=1e-05, filter='gdp', order=None)
    """
    checked = LifetimeBudget(epsilon=epsilon, delta=delta, filter="gdp", order=None)
    if filter_name == "gdp":
        return checked
    order = rdp_order(epsilon, _delta_each(delta, filter_name))
    return LifetimeBudget(epsilon=epsilon, delta=delta, filter=filter_name, order=order)


def fits(budget: LifetimeBudget, events: Ledger) -> bool:
    """Whether all releases about a cohort, past and reserved, are within its budget.

    Guarantees:
        If this held for everything released and reserved before each release, then all of it together is
        (epsilon, delta)-private for add-or-remove, even where each run was chosen after seeing the results of others.

    Source:
        GDP filter: Smith and Thakurta 2022; Koskela, Tobaben, Honkela 2023. RDP filter: Feldman and Zrnic 2021. Of
        ``either``: outcomes within the one limit are outcomes of a run stopped by that filter, all others of one
        stopped by the other, so that their deltas add up.

    Example:
        >>> run = GaussianEvent(sampling_rate=1.0, noise_multiplier=40.0, count=40)
        >>> budget = lifetime_budget(8.0, 1e-5, filter_name="gdp")
        >>> fits(budget, (run,) * 111), fits(budget, (run,) * 112)
        (True, False)
    """
    return binding_measure(budget, events).fraction(events) <= 1


def binding_measure(budget: LifetimeBudget, events: Ledger) -> Measure:
    """The measure that decides: of those the budget allows, the one of which the events use the least."""
    return min(_measures(budget), key=lambda measure: measure.fraction(events))


def runs_left(budget: LifetimeBudget, events: Ledger, run: Ledger) -> int:
    """How many runs like this one still fit.

    Args:
        budget: The limit.
        events: Everything charged so far.
        run: The worst case of one more run, at least one event.

    Example:
        >>> run = (GaussianEvent(sampling_rate=1.0, noise_multiplier=40.0, count=40),)
        >>> runs_left(lifetime_budget(8.0, 1e-5, filter_name="rdp"), (), run)
        98
    """
    left = [(measure.limit - measure.cost(events)) / measure.cost(run) for measure in _measures(budget)]
    return max(0, math.floor(max(left)))


def epsilon_left(budget: LifetimeBudget, events: Ledger) -> float:
    """What one more run of full batches may cost by itself, at the budget's delta; 0 where nothing is left.

    Epsilons do not add up: this is more than the limit less the epsilon of what was spent.
    """
    squares = []
    for measure in _measures(budget):
        left = max(0.0, measure.limit - measure.cost(events))
        squares.append(left if measure.order is None else 2 * left / measure.order)
    noise = 1 / math.sqrt(max(*squares, 1e-12))
    event = GaussianEvent(sampling_rate=1.0, noise_multiplier=noise)
    left = epsilon_of((event,), budget.delta * (1 - _CUT_OFF_PART))
    return min(left, budget.epsilon)


def statement(budget: LifetimeBudget) -> str:
    """Which filter keeps the budget, and why that one, in a sentence."""
    measures = {measure.name: measure for measure in _measures(budget)}
    words = {
        "gdp": "the sum of 1 / noise multiplier² stays below mu² = {0.limit:.4g} (GDP filter, exact for full batches)",
        "rdp": "the sum of Rényi divergences of order {0.order:.4g} stays below {0.limit:.4g} (RDP filter)",
    }
    said = " or ".join(words[name].format(measure) for name, measure in measures.items())
    halves = ", each at half the delta" if len(measures) > 1 else ""
    return f"{said}{halves}; valid however each run is chosen after those before, as a composed epsilon would not be"


def cut_off_allowed(budget: LifetimeBudget) -> float:
    """With what probability noise may ever be cut off: what all runs' probabilities may add up to.

    If it is cut off with probability f at most, then what is (epsilon, delta)-private with noise that is not is
    (epsilon, delta + (1 + exp(epsilon)) f)-private with noise that may be; a thousandth of delta is kept for that.
    """
    return math.exp(math.log(_CUT_OFF_PART * budget.delta) - float(np.logaddexp(0.0, budget.epsilon)))


def _delta_each(delta: float, filter_name: FilterName) -> float:
    whole = delta * (1 - _CUT_OFF_PART)
    return whole / 2 if filter_name == "either" else whole


@lru_cache(maxsize=64)
def _measures(budget: LifetimeBudget) -> tuple[Measure, ...]:
    delta = _delta_each(budget.delta, budget.filter)
    measures = []
    if budget.filter != "rdp":
        measures.append(Measure(name="gdp", limit=gdp_limit(budget.epsilon, delta) ** 2))
    if budget.order is not None:
        limit = rdp_limit(budget.order, epsilon=budget.epsilon, delta=delta)
        measures.append(Measure(name="rdp", limit=limit, order=budget.order))
    return tuple(measures)


@lru_cache(maxsize=64)
def gdp_limit(epsilon: float, delta: float) -> float:
    """The greatest mu for which mu-Gaussian privacy is (epsilon, delta)-privacy, from below.

    Source:
        Balle and Wang 2018, theorem 8.

    Example:
        >>> [round(gdp_limit(epsilon, 1e-5), 4) for epsilon in (1.0, 3.0, 8.0)]
        [0.2681, 0.7191, 1.666]
    """
    low, high = 0.0, 1.0  # low always holds, high is not known to
    while delta_of_gaussian(high, epsilon) <= delta:
        low, high = high, 2 * high
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if delta_of_gaussian(middle, epsilon) <= delta else (low, middle)
    return low * (1 - _ROUNDING)


def rdp_limit(order: float, *, epsilon: float, delta: float) -> float:
    """What the Rényi divergences of one order may add up to, for (epsilon, delta).

    Raises:
        PrivacyError: nothing, not even a perfect release, meets the two at this order.

    Source:
        Canonne, Kamath, Steinke 2020, proposition 12.

    Example:
        >>> round(rdp_limit(4.0, epsilon=8.0, delta=1e-5), 4)
        4.9121
    """
    limit = _rdp_room(order, epsilon, delta)
    if limit <= 0:
        raise PrivacyError(
            f"epsilon {epsilon:g} at delta {delta:g} leaves nothing at order {order:.4g}",
            remedy="Choose a greater epsilon or delta, or the filter 'gdp'.",
        )
    return limit * (1 - _ROUNDING)


def _rdp_room(order: float, epsilon: float, delta: float) -> float:
    return epsilon - math.log1p(-1 / order) + (math.log(delta) + math.log(order)) / (order - 1)


def rdp_order(epsilon: float, delta: float) -> float:
    """The order at which the most full-batch releases fit.

    With the older conversion ``epsilon = divergence + ln(1 / delta) / (order - 1)`` the best order would be
    1 + sqrt(ln(1 / delta) / rho) with rho = (sqrt(epsilon + ln(1 / delta)) - sqrt(ln(1 / delta)))²: 24.5, 9.1 and 4.3
    for epsilon 1, 3 and 8 at 1e-5. The conversion used here is tighter, and its best order is lower.

    Raises:
        PrivacyError: no order leaves anything.

    Example:
        >>> [round(rdp_order(epsilon, 1e-5), 1) for epsilon in (1.0, 3.0, 8.0)]
        [17.8, 7.5, 3.9]
    """
    logarithm = math.log(1 / delta)
    rho = (math.sqrt(epsilon + logarithm) - math.sqrt(logarithm)) ** 2
    older = math.sqrt(logarithm / rho)  # less one, as below
    # capacity has one maximum; any order keeps the promise, so how exactly it is met matters to nobody's privacy
    low, high = math.log(older / 8), math.log(older * 4)
    for _ in range(100):
        third = (high - low) / 3
        ratios = [_rdp_room(order, epsilon, delta) / order for order in (1 + math.exp(low + third * i) for i in (1, 2))]
        low, high = (low + third, high) if ratios[0] < ratios[1] else (low, high - third)
    order = 1 + math.exp((low + high) / 2)
    rdp_limit(order, epsilon=epsilon, delta=delta)  # refuses where nothing is left
    return order


def rdp_cost(event: GaussianEvent, order: float) -> float:
    """Rényi divergence of an event's releases at one order, whole or not, from above.

    Args:
        event: What was released.
        order: Above 1.

    Example:
        >>> round(rdp_cost(GaussianEvent(sampling_rate=1.0, noise_multiplier=40.0, count=40), 4.0), 4)
        0.05

    Source:
        Mironov, Talwar, Zhang 2019, "Rényi differential privacy of the sampled Gaussian mechanism", theorems 4 and 5.
    """
    return event.count * _rdp_of_one(event.sampling_rate, event.noise_multiplier, order)


@lru_cache(maxsize=1024)
def _rdp_of_one(rate: float, noise: float, order: float) -> float:
    unsampled = order / (2 * noise**2)
    if rate == 1 or noise < _LEAST_SAMPLED_NOISE or order / noise > 1e4:
        return unsampled
    from scipy.special import logsumexp  # half a second to load, and needed for sampled releases only

    # The trapezoid rule on a function that is analytic within pi * noise of the real axis and falls like a Gaussian:
    # its error is below that of the numbers themselves, which the last term covers.
    standard = np.arange(-_TAIL, order / noise + _TAIL, _STEP)
    ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * noise * standard - 1) / (2 * noise**2))
    moment = logsumexp(order * ratio - standard**2 / 2) + math.log(_STEP / math.sqrt(2 * math.pi))
    return min((max(float(moment), 0.0) * (1 + 1e-10) + 1e-12) / (order - 1), unsampled)
