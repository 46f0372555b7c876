"""What one holder charges in one run, to the run's budget and to its own lifetime budget, before anything leaves it."""

from __future__ import annotations

from fedjoint.errors import PrivacyError
from fedjoint.privacy.budget import RunBudget
from fedjoint.privacy.events import Purpose, Release, Releases, costs
from fedjoint.privacy.joint_plan import CUT_OFF
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.releases import epsilon_if_opened, once_released, releases_of, round_release, worst_case
from fedjoint.training.session import Session

__all__ = ["RunCharges"]


class RunCharges:
    """One holder's account of one run.

    Args:
        session: The run.
        lifetime: See :class:`~fedjoint.privacy.ledger_file.Lifetime`.
        rounds_before: Rounds that this holder was charged for in the run before this process began.

    Guarantees:
        It lives as long as the run: no round starts a fresh one. What is released once is charged to the run's budget
        from the start, so that it always fits.
    """

    def __init__(self, session: Session, lifetime: Lifetime | None, *, rounds_before: int = 0) -> None:
        self._session, self._lifetime, self._terms = session, lifetime, session.terms
        self._reservation = ""
        self._budget, self._steps = _budget(session), 0
        release = round_release(self._terms)
        if self._budget is not None and release is not None:
            for _ in range(rounds_before):
                self._budget.spend(release.event)
                self._steps += release.event.count

    @property
    def releases(self) -> Releases:
        """All that was charged so far."""
        return releases_of(self._terms, self._steps) if self._steps else ()

    @property
    def epsilon(self) -> float | None:
        """What the run has cost so far; None without privacy."""
        return self._budget.epsilon if self._budget else None

    @property
    def epsilon_if_opened(self) -> float | None:
        """What it would have cost if the holder's ciphertexts were opened; mode ``joint`` only."""
        return epsilon_if_opened(self._terms, self._steps) if self._steps else None

    def charge_round(self, number: int) -> None:
        """Charge a round to both budgets, or to neither.

        Raises:
            BudgetExhausted: it would cost more than is left.
            PrivacyError: updates without noise from records with a lifetime budget, a round that was charged before
                this process began, or the ledger refuses.
        """
        release = round_release(self._terms)
        if self._budget is None or release is None:
            self._require_no_lifetime()
            return
        self._budget.check(release.event)
        if self._lifetime is not None:
            reservation = self._reserved(self._lifetime)
            for once in once_released(self._terms):
                if once.purpose == "contributions":  # others open them; charged before, they cost nothing more:
                    # their noise is in rounds that are not computed again
                    self._lifetime.commit(reservation, name=once.purpose, release=once)
            self._commit(self._lifetime, f"round {number}", release)
        self._budget.spend(release.event)
        self._steps += release.event.count

    def charge_once(self, purpose: Purpose) -> None:
        """Charge what the holder itself releases once; the run's budget has it from the start.

        Raises:
            BudgetExhausted: the run would cost more than is left of the lifetime budget.
            PrivacyError: it was not agreed, or was charged before this process began, or the ledger refuses.
        """
        for release in once_released(self._terms):
            if release.purpose == purpose:
                if self._lifetime is not None:
                    self._reserved(self._lifetime)
                    self._commit(self._lifetime, purpose, release)
                return
        raise PrivacyError(f"no {purpose} were agreed to be released", remedy="Agree on them first.")

    def give_back(self) -> None:
        """End the reservation: what was not released is free again."""
        if self._lifetime is not None and self._reservation:
            self._lifetime.give_back(self._reservation)
            self._reservation = ""

    def _require_no_lifetime(self) -> None:
        if self._lifetime is not None:
            raise PrivacyError(
                "updates would leave without noise, at no finite cost to the lifetime budget",
                remedy="Agree on a privacy mode.",
            )

    def _reserved(self, lifetime: Lifetime) -> str:
        """Reserve the whole run before its first release."""
        if not self._reservation:
            releases = worst_case(self._terms)
            # gradients, statistics and metrics may each be cut off with that probability; full noise is never missing
            cut_off = 3 * CUT_OFF if self._terms.privacy.mode == "joint" else 0.0
            self._reservation = lifetime.reserve(
                self._session.run_id,
                agreement_sha256=self._session.agreement.sha256,
                releases=releases,
                unit=self._terms.privacy.unit,
                cut_off=cut_off,
            )
        return self._reservation

    def _commit(self, lifetime: Lifetime, name: str, release: Release) -> None:
        if not lifetime.commit(self._reservation, name=name, release=release):
            raise PrivacyError(
                f"{name} of run {self._session.run_id} was charged before this process began",
                expected="a release that was never computed",
                remedy="Computed again it would be another release: go on with the next.",
            )


def _budget(session: Session) -> RunBudget | None:
    privacy = session.terms.privacy
    if privacy.mode == "none":
        return None
    assert privacy.epsilon is not None and privacy.accounted_delta is not None  # PrivacyTerms made sure
    once = costs(once_released(session.terms))
    return RunBudget(epsilon=privacy.epsilon, delta=privacy.accounted_delta, events=once)
