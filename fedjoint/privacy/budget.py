"""The limit on what one run may cost a holder's records, and the account of what it has cost."""

from __future__ import annotations

import math

from fedjoint.errors import BudgetExhausted, PrivacyError
from fedjoint.privacy.accounting import epsilon_of, is_within
from fedjoint.privacy.events import GaussianEvent, Ledger, append, num_steps

__all__ = ["RunBudget"]


class RunBudget:
    """One holder's budget for one run: checked before each release, never after.

    There is one budget for the whole run. A fresh accountant for every round reports the cost of one round however
    many there were (0.94 where the truth is 3.68 after 20), so this object lives from the first round to the last.

    Args:
        epsilon: The most that the run may cost (add-or-remove adjacency, unit: one record), > 0.
        delta: In (0, 1).
        events: What the run has released already, when it is taken up again.

    Raises:
        PrivacyError: epsilon or delta is out of range.
        BudgetExhausted: the events given cost more than epsilon already.

    Guarantees:
        ``epsilon_of(budget.events, delta) <= limit`` at all times; a refused event leaves the budget as it was.

    Example:
        >>> budget = RunBudget(epsilon=3.0, delta=1e-5)
        >>> budget.spend(GaussianEvent(sampling_rate=1.0, noise_multiplier=10.0, count=50))
        >>> round(budget.epsilon, 2)
        2.94
    """

    def __init__(self, *, epsilon: float, delta: float, events: Ledger = ()) -> None:
        if not (math.isfinite(epsilon) and epsilon > 0):
            raise PrivacyError(f"epsilon = {epsilon}", expected="a finite number above 0")
        self._limit, self._delta = epsilon, delta
        self._events: Ledger = ()
        epsilon_of((), delta)  # refuses a delta out of range
        for event in events:
            self.spend(event)

    @property
    def limit(self) -> float:
        """The most that the run may cost."""
        return self._limit

    @property
    def delta(self) -> float:
        """The delta at which epsilon is stated."""
        return self._delta

    @property
    def events(self) -> Ledger:
        """What was released, in order."""
        return self._events

    @property
    def epsilon(self) -> float:
        """What the run has cost so far."""
        return epsilon_of(self._events, self._delta)

    def check(self, event: GaussianEvent) -> None:
        """Refuse a release that would cost more than is left; change nothing.

        Args:
            event: What would be released next.

        Raises:
            BudgetExhausted: the run would then cost more than its limit.
        """
        self._after(event)

    def _after(self, event: GaussianEvent) -> Ledger:
        """The events with one more, if they fit together."""
        events = append(self._events, event)
        if not is_within(events, epsilon=self._limit, delta=self._delta):
            after, spent, steps = epsilon_of(events, self._delta), self.epsilon, num_steps(self._events)
            raise BudgetExhausted(
                f"epsilon {spent:.4g} of {self._limit:g} is spent after {steps} steps (delta {self._delta:g}, "
                f"add-or-remove) and the next release of {event.count} would bring it to {after:.4g}",
                expected=f"a release that costs at most {self._limit - spent:.4g} more",
                remedy="Stop here and keep the model so far, or agree on more noise, fewer rounds or a higher epsilon.",
            )
        return events

    def spend(self, event: GaussianEvent) -> None:
        """Charge a release. Call it before the release is made: a crash in between charges, and never under-counts.

        Args:
            event: What is about to be released.

        Raises:
            BudgetExhausted: it does not fit; nothing is charged.
        """
        self._events = self._after(event)
