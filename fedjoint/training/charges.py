"""What one holder charges in one run, to the run's budget and to its own lifetime budget, before anything leaves it."""

from __future__ import annotations

from fedjoint.errors import PrivacyError
from fedjoint.privacy.budget import RunBudget
from fedjoint.privacy.events import Purpose, Release, Releases, costs
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.lifetime_account import Unit
from fedjoint.privacy.releases import epsilon_if_opened, once_released, releases_of, round_release, worst_case
from fedjoint.privacy.sum_plan import CUT_OFF
from fedjoint.training.session import Session

__all__ = ["RunCharges", "charge_alone", "charged_before"]

#: In a ledger, in the place of an agreement's hash.
_NO_AGREEMENT = "before agreement"


def charge_alone(lifetime: Lifetime, release: Release, *, unit: Unit, name: str) -> None:
    """Charge what a holder releases by itself, outside any run; call it before the release is computed.

    Args:
        lifetime: The holder's budget.
        release: What is about to be released.
        unit: Of privacy.
        name: Of this one release, never used before.

    Raises:
        BudgetExhausted: it does not fit.
        PrivacyError: the name was used before, or the ledger refuses.
    """
    reservation = lifetime.reserve(name, agreement_sha256=_NO_AGREEMENT, releases=(release,), unit=unit)
    is_new = lifetime.commit(reservation, name=release.purpose, release=release)
    lifetime.give_back(reservation)
    if not is_new:
        raise PrivacyError(f"'{name}' was released before", remedy="Use what was released then: it costs nothing more.")


class RunCharges:
    """One holder's account of one run.

    Args:
        session: The run.
        lifetime: See :class:`~fedjoint.privacy.ledger_file.Lifetime`.
        rounds: How many rounds were charged before this process began.

    Guarantees:
        It lives as long as the run: no round starts a fresh one. What is released once is charged to the run's budget
        from the start, so that it always fits.
    """

    def __init__(self, session: Session, lifetime: Lifetime | None, *, rounds: int = 0) -> None:
        self._session, self._lifetime, self._terms = session, lifetime, session.terms
        self._reservation = ""
        self._budget, self._steps = _budget(session), 0
        if rounds and (release := round_release(self._terms)) is not None:
            self._spend(release.times(rounds * release.event.count))

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

    def admit_round(self) -> None:
        """Refuse a round that does not fit, and reserve the run before its first one; nothing is charged yet.

        Raises:
            BudgetExhausted: it would cost more than is left.
            PrivacyError: updates without noise from records with a lifetime budget, or the ledger refuses.
        """
        release = round_release(self._terms)
        if self._budget is None or release is None:
            self._require_no_lifetime()
            return
        self._budget.check(release.event)
        if self._lifetime is not None:
            self._reserved(self._lifetime)

    def charge_round(self, number: int, *, again: bool = False) -> bool:
        """Charge a round that was admitted.

        Args:
            number: From 1.
            again: Whether it is in this account already, and perhaps not in the ledger: the process was killed.

        Returns:
            False if the ledger had it already.

        Raises:
            PrivacyError: the ledger refuses.
        """
        release, first = round_release(self._terms), True
        if self._budget is None or release is None:
            return first
        if self._lifetime is not None:
            reservation = self._reserved(self._lifetime)
            for once in once_released(self._terms):
                if once.purpose == "contributions":  # others open them; charged before, they cost nothing more:
                    # their noise is in rounds that are not computed again
                    self._lifetime.commit(reservation, name=once.purpose, release=once)
            first = self._lifetime.commit(reservation, name=f"round {number}", release=release)
        if not again:
            self._spend(release)
        return first

    def admit_once(self, purpose: Purpose) -> None:
        """Refuse to release once what was not agreed, or a run that does not fit; nothing is charged yet.

        Raises:
            BudgetExhausted: the run would cost more than is left of the lifetime budget.
            PrivacyError: it was not agreed, it carries no noise and there is a lifetime budget, or the ledger refuses.
        """
        if self._once(purpose) is None:
            self._require_no_lifetime()
        elif self._lifetime is not None:
            self._reserved(self._lifetime)

    def charge_once(self, purpose: Purpose, *, number: int = 0) -> bool:
        """Charge what the holder itself releases once, or in each round; the run's budget has it from the start.

        Args:
            purpose: What is released, after it was admitted.
            number: Of a validation gradient the round; else 0.

        Returns:
            False if the ledger had it already.

        Raises:
            PrivacyError: it was not agreed, or the ledger refuses.
        """
        release = self._once(purpose)
        if release is None:
            self._require_no_lifetime()
        if release is None or self._lifetime is None:
            return True
        name = f"{purpose} {number}" if number else purpose
        one = release.times(1) if number else release
        return self._lifetime.commit(self._reserved(self._lifetime), name=name, release=one)

    def _once(self, purpose: Purpose) -> Release | None:
        """What a release is and costs; None if it carries no noise, as agreed."""
        if self._budget is None and purpose == "validation" and self._terms.validated_by_holders:
            return None
        for release in once_released(self._terms):
            if release.purpose == purpose:
                return release
        raise PrivacyError(f"no {purpose} were agreed to be released", remedy="Agree on them first.")

    def give_back(self) -> None:
        """End the run's reservation, whichever process made it: what was not released is free again."""
        if self._lifetime is not None and (held := self._lifetime.held(self._session.run_id)):
            self._lifetime.give_back(held)
        self._reservation = ""

    def _spend(self, release: Release) -> None:
        assert self._budget is not None  # there is one wherever a round has a cost
        self._budget.spend(release.event)
        self._steps += release.event.count

    def _require_no_lifetime(self) -> None:
        if self._lifetime is not None:
            raise PrivacyError(
                "updates would leave without noise, at no finite cost to the lifetime budget",
                remedy="Agree on a privacy mode.",
            )

    def _reserved(self, lifetime: Lifetime) -> str:
        """Reserve the whole run before its first release."""
        if not self._reservation:
            # sizes were charged when they were released, before there was an agreement to state them
            releases = tuple(one for one in worst_case(self._terms) if one.purpose != "sizes")
            # each kind of sums but contributions may be cut off with that probability, sizes may be beyond what is
            # provided for; full noise is never missing
            cut_off = 5 * CUT_OFF if self._terms.privacy.mode == "joint" else 0.0
            self._reservation = lifetime.reserve(
                self._session.run_id,
                agreement_sha256=self._session.agreement.sha256,
                releases=releases,
                unit=self._terms.privacy.unit,
                cut_off=cut_off,
            )
        return self._reservation


def charged_before(what: str, run_id: str) -> PrivacyError:
    """What to say of a release whose cost a killed process had already counted."""
    return PrivacyError(
        f"{what} of run {run_id} was charged before this process began",
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
